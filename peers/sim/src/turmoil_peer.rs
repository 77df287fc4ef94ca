//! The same work on turmoil: links of 1 to 10 ms, ticks of 1 ms as it comes.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use turmoil::net::UdpSocket;
use turmoil::{Builder, Sim};

use crate::{NODES, SLEEPERS};

fn simulation() -> Sim<'static> {
    Builder::new()
        .rng_seed(1)
        .simulation_duration(Duration::from_secs(1 << 20))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(10))
        .udp_capacity(4096)
        .build()
}

async fn server() {
    let socket = UdpSocket::bind("0.0.0.0:9000").await.expect("a free port");
    let mut buf = [0; 8];
    loop {
        let (len, from) = socket.recv_from(&mut buf).await.expect("nothing fails");
        socket.send_to(&buf[..len], from).await.expect("nothing fails");
    }
}

async fn client(peer: String, port: u16, rounds: u64) {
    let socket = UdpSocket::bind(format!("0.0.0.0:{port}")).await.expect("a free port");
    tokio::time::sleep(Duration::from_millis(1)).await;
    let mut buf = [0; 8];
    for round in 0..rounds {
        socket.send_to(&round.to_le_bytes(), (&*peer, 9000)).await.expect("nothing fails");
        socket.recv_from(&mut buf).await.expect("nothing fails");
        assert_eq!(buf, round.to_le_bytes());
    }
}

/// Datagrams of eight bytes.
pub(crate) fn datagrams(clients: u16, rounds: u64) -> u64 {
    let mut simulation = simulation();
    let left = Rc::new(Cell::new(u64::from(NODES)));
    for node in 0..NODES {
        let left = Rc::clone(&left);
        simulation.client(format!("n{node}"), async move {
            tokio::task::spawn_local(server());
            let peer = || format!("n{}", (node + 1) % NODES);
            let spawn = |number| tokio::task::spawn_local(client(peer(), 9001 + number, rounds));
            for client in (0..clients).map(spawn).collect::<Vec<_>>() {
                client.await.expect("no client dies");
            }
            left.set(left.get() - 1);
            // Its server is needed until all are done.
            while left.get() > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Ok(())
        });
    }
    simulation.run().expect("nothing fails");
    u64::from(NODES * clients) * rounds * 2
}

/// Tasks of one host that sleep.
pub(crate) fn sleepers(rounds: u64) -> u64 {
    let mut simulation = simulation();
    simulation.client("n0", async move {
        let sleeper = |task| {
            tokio::task::spawn_local(async move {
                for _ in 0..rounds {
                    tokio::time::sleep(Duration::from_micros(1000 + task)).await;
                }
            })
        };
        for task in (0..SLEEPERS).map(sleeper).collect::<Vec<_>>() {
            task.await.expect("no task dies");
        }
        Ok(())
    });
    simulation.run().expect("nothing fails");
    SLEEPERS * rounds
}
