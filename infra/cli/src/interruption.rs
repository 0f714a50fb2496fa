//! Ctrl-C, for what takes its time.

use tokio_util::sync::CancellationToken;

/// As a shell tells of a program that Ctrl-C has ended.
pub const INTERRUPTED: u8 = 130;

/// What has begun ends in peace, and can be gone on with.
pub fn ended_by_ctrl_c() -> CancellationToken {
    let ending = CancellationToken::new();
    let ended = ending.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            eprintln!("Ending: what has begun is finished; once more, and it is not");
            ended.cancel();
        }
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(i32::from(INTERRUPTED));
        }
    });
    ending
}
