//! What a running pair tells an operator, and the verdict that follows from it.

use ha_core::verdict::{self, Facts, HostFacts, Kind, Names, Verdict, Word};
use ha_core::view::{Right, Stage, View, Wait};
use ha_proto::{LinkId, NodeId, Role};

use crate::rig::{Node, Pair, block_on, ready, whole};

async fn view(node: &Node) -> View {
    node.handle.view().await.expect("the driver runs")
}

fn judge(view: &View) -> Verdict {
    let names = Names { me: "here".into(), peer: "there".into(), ..Names::default() };
    verdict::judge(&Facts { view, host: &HostFacts::default(), names: &names })
}

fn kinds(view: &View) -> Vec<Kind> {
    judge(view).blockers().iter().map(|blocker| blocker.kind).collect()
}

#[test]
fn both_nodes_of_a_whole_pair_say_that_it_is_protected() {
    block_on(async {
        let mut pair = Pair::new();
        let _arbiter = pair.arbiter();
        let (first, second) = (pair.start(0), pair.start(1));
        whole(&first, &second).await;
        first.propose(b"a record").await;
        // The witness has just started, and its answer to the admission comes last.
        let (here, there) = loop {
            let (here, there) = (view(&first).await, view(&second).await);
            let both = [judge(&here).word(), judge(&there).word()];
            if both == [Word::Protected; 2] && here.swap.is_ok() {
                break (here, there);
            }
            tokio::task::yield_now().await;
        };
        assert_eq!((here.role, here.service.stage), (Role::Prim, Stage::Up));
        assert!(matches!(here.right, Right::Lease(left) if left <= here.timing.lease));
        assert_eq!(here.witness.register, Some(here.membership));
        assert!(here.witness.round_trip.is_some_and(|took| took < here.timing.round_trip));
        assert_eq!(here.witness.grace, None);
        let (age, told) = here.peer.told.expect("it is heard");
        assert!(age < here.timing.timeout && told.role == Role::Second && told.ready);
        let links: Vec<_> = here.links.iter().map(|link| (link.id, link.up)).collect();
        assert_eq!(links, [(LinkId(0), true), (LinkId(1), true)]);
        for link in &here.links {
            let took = link.round_trip.expect("beats come back");
            assert!(took < here.timing.heartbeat, "the wait for the next beat is in it: {took:?}");
        }
        assert_eq!((there.role, there.service.stage), (Role::Second, Stage::Down));
        assert_eq!((there.right, there.bound.is_some()), (Right::None, true));
        assert_eq!(there.membership, here.membership);
        assert_eq!((there.wait, there.copy), (None, None));
    });
}

#[test]
fn a_pair_that_loses_a_node_or_its_witness_says_which() {
    block_on(async {
        let mut pair = Pair::new();
        let arbiter = pair.arbiter();
        let (first, second) = (pair.start(0), pair.start(1));
        whole(&first, &second).await;
        drop(arbiter);
        first.until("without witness", |status| !status.witness_up).await;
        assert!(kinds(&view(&first).await).contains(&Kind::Witness));
        let _arbiter = pair.arbiter();
        first.until("with a witness", |status| status.witness_up).await;
        second.running.shutdown();
        first.until("alone", ready(Role::Alone)).await;
        let alone = view(&first).await;
        assert_eq!((alone.right, kinds(&alone)), (Right::Standing, vec![Kind::NoPeer]));
        let (_, told) = alone.peer.told.expect("what it said last is kept");
        assert_eq!(told.membership.holder, NodeId::new(0).unwrap());
    });
}

#[test]
fn a_pair_that_was_never_initialised_says_so() {
    block_on(async {
        let pair = Pair::new();
        let mut raw = pair.raw(0, 0);
        raw.bootstrap = false;
        let first = Pair::run(raw);
        first.until("waiting", |status| status.role == Role::Wait).await;
        let blank = view(&first).await;
        assert_eq!(blank.wait, Some(Wait::NeverInitialised));
        assert_eq!(judge(&blank).word(), Word::Down);
    });
}
