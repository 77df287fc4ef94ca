//! The same work on madsim, with its own defaults: latencies of 1 to 10 ms, no loss.

use std::net::SocketAddr;
use std::time::Duration;

use madsim::Request;
use madsim::net::Endpoint;
use madsim::net::rpc::*;
use madsim::runtime::Runtime;

use crate::{NODES, SLEEPERS};

fn address(node: u16, port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, (node % NODES) as u8 + 1], port))
}

#[derive(Serialize, Deserialize, Request)]
#[rtype("u64")]
struct Ping(u64);

/// Requests by `Endpoint::call`.
pub(crate) fn call(clients: u16, rounds: u64) -> u64 {
    let runtime = Runtime::new();
    let mut done = Vec::new();
    for number in 0..NODES {
        let node = runtime.create_node().ip(address(number, 0).ip()).build();
        node.spawn(async move {
            let endpoint = Endpoint::bind(address(number, 1)).await.expect("a free port");
            endpoint.add_rpc_handler(|ping: Ping| async move { ping.0 });
            std::future::pending::<()>().await;
        });
        for client in 0..clients {
            done.push(node.spawn(async move {
                let endpoint = Endpoint::bind(address(number, 2 + client)).await.expect("a free port");
                // Servers are there by then.
                madsim::time::sleep(Duration::from_millis(1)).await;
                for round in 0..rounds {
                    let pong = endpoint.call(address(number + 1, 1), Ping(round)).await;
                    assert_eq!(pong.expect("nothing is lost"), round);
                }
            }));
        }
    }
    runtime.block_on(async move {
        for client in done {
            client.await.expect("no client dies");
        }
    });
    u64::from(NODES * clients) * rounds * 2
}

/// Datagrams of eight bytes.
pub(crate) fn datagrams(clients: u16, rounds: u64) -> u64 {
    let runtime = Runtime::new();
    let mut done = Vec::new();
    for number in 0..NODES {
        let node = runtime.create_node().ip(address(number, 0).ip()).build();
        node.spawn(async move {
            let endpoint = Endpoint::bind(address(number, 1)).await.expect("a free port");
            let mut buf = [0; 8];
            loop {
                let (len, from) = endpoint.recv_from(1, &mut buf).await.expect("nothing fails");
                endpoint.send_to(from, 2, &buf[..len]).await.expect("nothing fails");
            }
        });
        for client in 0..clients {
            done.push(node.spawn(async move {
                let endpoint = Endpoint::bind(address(number, 2 + client)).await.expect("a free port");
                madsim::time::sleep(Duration::from_millis(1)).await;
                let mut buf = [0; 8];
                for round in 0..rounds {
                    endpoint
                        .send_to(address(number + 1, 1), 1, &round.to_le_bytes())
                        .await
                        .expect("nothing fails");
                    endpoint.recv_from(2, &mut buf).await.expect("nothing fails");
                    assert_eq!(buf, round.to_le_bytes());
                }
            }));
        }
    }
    runtime.block_on(async move {
        for client in done {
            client.await.expect("no client dies");
        }
    });
    u64::from(NODES * clients) * rounds * 2
}

/// Tasks that sleep.
pub(crate) fn sleepers(rounds: u64) -> u64 {
    let runtime = Runtime::new();
    let node = runtime.create_node().build();
    let sleeper = |task| {
        node.spawn(async move {
            for _ in 0..rounds {
                madsim::time::sleep(Duration::from_micros(1000 + task)).await;
            }
        })
    };
    let done: Vec<_> = (0..SLEEPERS).map(sleeper).collect();
    runtime.block_on(async move {
        for task in done {
            task.await.expect("no task dies");
        }
    });
    SLEEPERS * rounds
}
