//! TCP ports on 127.0.0.1.

use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;

/// Ports that this process has handed out: two tests in one process never get the same.
static HANDED_OUT: Mutex<Option<HashSet<u16>>> = Mutex::new(None);

/// A port that nobody listens on. It lies below those that the kernel gives to outgoing connections: else a client that
/// keeps trying to reach a killed server would sooner or later be given that server's port as its own, and connect to itself.
pub fn free() -> u16 {
    let outgoing_from = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|range| range.split_whitespace().next()?.parse::<u16>().ok())
        .filter(|&from| from > 20_000)
        .unwrap_or(32_768);
    let mut handed_out = HANDED_OUT.lock().expect("nothing panics while it holds the ports");
    let handed_out = handed_out.get_or_insert_default();
    for _ in 0..10_000 {
        let port = 10_000 + random_u16() % (outgoing_from - 10_000);
        if !handed_out.contains(&port) && !in_use(port) {
            handed_out.insert(port);
            return port;
        }
    }
    panic!("no free TCP port between 10000 and {outgoing_from}");
}

/// Whether a server could not listen on 127.0.0.1 at `port` now.
pub fn in_use(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err()
}

fn random_u16() -> u16 {
    let mut bytes = [0; 2];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).expect("the kernel has random numbers");
    u16::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_port_is_given_once_and_can_be_listened_on() {
        let ports: HashSet<u16> = (0..200).map(|_| free()).collect();
        assert_eq!(ports.len(), 200);
        for port in ports {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the port is free");
            assert!(in_use(port));
            drop(listener);
        }
    }
}
