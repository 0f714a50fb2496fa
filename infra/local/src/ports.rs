//! TCP ports on 127.0.0.1.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::Mutex;

/// What keeps others from the ports that this process has: the UDP port of the same number, which nobody here needs and which the
/// kernel gives back when the process ends, however it ends.
static CLAIMS: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());

/// A port that nobody listens on, and that nobody else is given by this function while this process runs: tests start their
/// servers at the same time, some of them long after they were given the port. It lies below those that the kernel gives to
/// outgoing connections: else a client that keeps trying to reach a killed server would sooner or later be given that server's
/// port as its own, and connect to itself.
pub fn free() -> u16 {
    free_block(1)
}

/// As [`free`], the first of so many in a row.
pub fn free_block(ports: u16) -> u16 {
    let outgoing_from = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|range| range.split_whitespace().next()?.parse::<u16>().ok())
        .filter(|&from| from > 20_000)
        .unwrap_or(32_768);
    for _ in 0..10_000 {
        let first = 10_000 + random_u16() % (outgoing_from - 10_000 - ports);
        let claims: Option<Vec<_>> = (first..first + ports).map(claim).collect();
        if let Some(claims) = claims {
            CLAIMS.lock().expect("nothing panics while it holds the claims").extend(claims);
            return first;
        }
    }
    panic!("no free TCP port between 10000 and {outgoing_from}");
}

/// `None`: somebody has it.
fn claim(port: u16) -> Option<UdpSocket> {
    let claim = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
    (!in_use(port)).then_some(claim)
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
    use std::collections::HashSet;

    #[test]
    fn a_free_port_is_given_once_and_can_be_listened_on() {
        let ports: HashSet<u16> = (0..200).map(|_| free()).collect();
        assert_eq!(ports.len(), 200);
        for port in ports {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the port is free");
            assert!(in_use(port));
            drop(listener);
            assert!(claim(port).is_none(), "it stays ours");
        }
    }

    #[test]
    fn a_block_is_free_as_a_whole() {
        let firsts: Vec<_> = (0..20).map(|_| free_block(10)).collect();
        let ports: HashSet<u16> = firsts.into_iter().flat_map(|first| first..first + 10).collect();
        assert_eq!(ports.len(), 200);
    }
}
