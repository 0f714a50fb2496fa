//! postgresql.conf and pg_hba.conf, written anew at each start, so that a newer Kontor's settings reach old data.

use super::{Postgres, PostgresProfile, cluster, replica};
use crate::Error;
use crate::account;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where the Unix socket goes, unless the path is longer than the kernel's 107 bytes.
pub(super) fn socket_folder(folder: &Path) -> Option<PathBuf> {
    let socket = folder.join("socket");
    (socket.as_os_str().len() + "/.s.PGSQL.65535".len() <= 107).then_some(socket)
}

pub(super) fn write(server: &Postgres) -> Result<(), Error> {
    let account = server.account();
    let socket = socket_folder(&server.folder);
    if let Some(socket) = &socket {
        account::private_folder(socket, account)?;
    }
    let mut text = format!(
        "# Written at each start of the local platform; edits are lost.\n\
         listen_addresses = '127.0.0.1'\n\
         port = {}\n\
         unix_socket_directories = {}\n\
         password_encryption = 'scram-sha-256'\n\
         max_connections = 100\n\
         wal_level = replica\n\
         max_wal_senders = 10\n\
         max_replication_slots = 10\n\
         hot_standby = on\n\
         jit = off\n\
         timezone = 'UTC'\n\
         log_timezone = 'UTC'\n\
         lc_messages = 'C'\n\
         log_line_prefix = '%m [%p] %q%u '\n\
         max_slot_wal_keep_size = '{}'\n",
        server.port,
        quoted(&socket.map(|socket| socket.display().to_string()).unwrap_or_default()),
        // A replica that is away for longer starts over from a base backup; the primary's disk does not fill up for it.
        match server.profile {
            PostgresProfile::Test => "512MB",
            PostgresProfile::Platform => "4GB",
        },
    );
    match server.profile {
        // Commits still wait for the write, though not for the disk: so what was acknowledged survives `kill`. Shared
        // memory lies in the data folder, so that a killed server's goes with the folder.
        PostgresProfile::Test => text.push_str(
            "fsync = off\nfull_page_writes = off\nsynchronous_commit = on\nshared_buffers = '64MB'\n\
             max_wal_size = '1GB'\ncheckpoint_timeout = '15min'\ndynamic_shared_memory_type = mmap\n",
        ),
        PostgresProfile::Platform => {
            text.push_str(&format!(
                "fsync = on\nsynchronous_commit = on\nshared_buffers = '{}MB'\nhuge_pages = try\n\
                 max_wal_size = '4GB'\ncheckpoint_timeout = '15min'\nwal_compression = {}\ntrack_io_timing = off\n",
                shared_buffers_mb(),
                if compresses_with_lz4(server) { "lz4" } else { "on" },
            ));
        }
    }
    if let Some(primary_port) = server.primary_port {
        let primary = format!(
            "host=127.0.0.1 port={primary_port} user={} password={} application_name={}",
            cluster::REPLICATOR,
            server.passwords.of(cluster::REPLICATOR),
            replica::SLOT,
        );
        text.push_str(&format!(
            // Feedback keeps the primary from vacuuming away what a query here still reads; what conflicts all the same
            // (a table dropped or truncated) cancels the query rather than letting every reader lag.
            "primary_conninfo = {}\nprimary_slot_name = '{}'\nhot_standby_feedback = on\n\
             wal_receiver_status_interval = '1s'\nwal_retrieve_retry_interval = '200ms'\n\
             max_standby_streaming_delay = '500ms'\nmax_standby_archive_delay = '500ms'\n",
            quoted(&primary),
            replica::SLOT,
        ));
    }
    let data = server.data();
    account::private_file(&data.join("postgresql.conf"), &text, account)?;
    let access = "local all         all               scram-sha-256\n\
                  host  all         all 127.0.0.1/32  scram-sha-256\n\
                  host  replication all 127.0.0.1/32  scram-sha-256\n";
    account::private_file(&data.join("pg_hba.conf"), access, account)
}

/// An eighth of the machine's memory, at least 128 MB, at most 2 GB.
fn shared_buffers_mb() -> u64 {
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total_kb =
        memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok());
    (total_kb.unwrap_or(0_u64) / 1024 / 8).clamp(128, 2048)
}

/// Not every build of Postgres has lz4; one without would refuse to start.
fn compresses_with_lz4(server: &Postgres) -> bool {
    let mut command = Command::new(server.installation.programs.join("postgres"));
    command.arg("-D").arg(server.data()).args(["-c", "wal_compression=lz4", "-C", "wal_compression"]);
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Some(account) = server.account() {
        account.run(&mut command);
    }
    command.status().is_ok_and(|status| status.success())
}

/// A value as postgresql.conf wants it.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_in_a_path_stays_in_the_value() {
        assert_eq!(quoted("/tmp/it's"), "'/tmp/it''s'");
    }

    #[test]
    fn a_path_too_long_for_a_socket_gets_none() {
        assert_eq!(socket_folder(Path::new("/tmp/x")), Some(PathBuf::from("/tmp/x/socket")));
        assert_eq!(socket_folder(&Path::new("/tmp").join("x".repeat(100))), None);
    }
}
