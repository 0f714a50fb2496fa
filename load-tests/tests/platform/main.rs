//! `kontor-load` on whole platforms, which each test starts for itself.

mod cancellation;
mod crashes;
mod demo;
mod erasure;
mod flash_sale;
mod import;
mod plaintext;
mod stores;
mod traces;

use kontor_identity::Role;
use kontor_load_tests::client::Api;
use kontor_local::{Folder, Platform, PlatformPorts};
use std::process::{Output, Stdio};
use tokio::process::Command;

/// Servers and tiers on free ports, with their data in a temporary folder.
pub struct Running {
    // Dropped in this order.
    pub platform: Platform,
    pub folder: Folder,
}

pub async fn start() -> Running {
    let folder = Folder::temporary("load-tests").expect("a folder");
    let platform = Platform::start(folder.path(), PlatformPorts::free(), &mut |_| {}).await;
    Running { platform: platform.expect("the platform starts"), folder }
}

impl Running {
    /// The command API and the query API.
    pub fn apis(&self) -> (Api, Api) {
        let token = self.token();
        let api = |url: String| Api::new(&url.parse().expect("a URL"), Some(&token)).expect("a client");
        (api(self.platform.command_url()), api(self.platform.query_url()))
    }

    /// Of somebody who may do what the tests do.
    pub fn token(&self) -> String {
        self.platform.identity().token("test", Role::Staff, None)
    }

    /// `kontor-load` with `arguments` and the addresses of this platform.
    pub fn load(&self, arguments: &[&str]) -> Command {
        self.load_through(&self.platform.command_url(), arguments)
    }

    /// The same with another way to the command API.
    pub fn load_through(&self, command_url: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kontor-load"));
        command.args(arguments).args(["--command-url", command_url, "--query-url", &self.platform.query_url()]);
        command
            .env("KONTOR_TOKEN", self.token())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }
}

/// What it printed, to standard output and standard error.
pub fn said(output: &Output) -> (String, String) {
    (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned())
}
