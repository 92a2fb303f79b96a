//! A folder belongs to one module of one node of one cluster, and to one process at a time.

use std::fs;

use ha_core::store::{Ids, Store, StoreError};
use ha_core::{Answer, Saved};
use ha_proto::{ClusterId, DataId, DataState, Epoch, Membership, ModuleId, NodeSet, StoreId};

use crate::rig::{LIMITS, Rig, copy, ids, node, open};

#[test]
fn a_folder_in_use_is_refused_until_it_is_free() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::start(folder.path());
    let refused = open(folder.path()).unwrap_err();
    assert!(matches!(refused, StoreError::InUse { .. }));
    assert!(refused.to_string().contains("in use by another process"));
    drop(rig);
    open(folder.path()).unwrap();
}

#[test]
fn anothers_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    Rig::start(folder.path()).fill(1, 10);
    let other = |ids| Store::open(folder.path(), ids, LIMITS, StoreId(5)).unwrap_err();
    let cluster = other(Ids { cluster: ClusterId(9), ..ids() });
    assert!(matches!(cluster, StoreError::OtherCluster { .. }));
    assert!(matches!(other(Ids { node: node(1), ..ids() }), StoreError::OtherNode { .. }));
    let module = other(Ids { module: ModuleId(9), ..ids() });
    assert!(matches!(module, StoreError::OtherModule { .. }));
    // Without the saved file the log itself still knows whose it is.
    fs::remove_file(folder.path().join("saved")).unwrap();
    let cluster = other(Ids { cluster: ClusterId(9), ..ids() });
    assert!(matches!(cluster, StoreError::OtherCluster { .. }));
}

#[test]
fn a_new_folder_is_blank_and_stays_the_same_store() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path()).unwrap();
    assert_eq!(first.saved(), &Saved::blank(ids().cluster, ids().module, node(0), StoreId(77)));
    drop(first);
    let again = Store::open(folder.path(), ids(), LIMITS, StoreId(5)).unwrap();
    assert_eq!(again.saved().store, StoreId(77));
}

#[test]
fn what_is_saved_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::start(folder.path());
    let saved = complete(&rig.saved);
    let sent = saved.clone();
    assert_eq!(rig.ask(|storage, ticket| storage.save(ticket, sent)), Answer::Done);
    drop(rig);
    assert_eq!(open(folder.path()).unwrap().saved(), &saved);
}

#[test]
fn a_log_that_is_not_the_saved_one_makes_the_node_blank() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::start(folder.path());
    rig.fill(3, 10);
    let saved = complete(&rig.saved);
    let sent = saved.clone();
    rig.ask(|storage, ticket| storage.save(ticket, sent));
    drop(rig);
    let other = tempfile::tempdir().unwrap();
    drop(Store::open(other.path(), ids(), LIMITS, StoreId(5)).unwrap());
    fs::remove_dir_all(folder.path().join("log")).unwrap();
    copy(&other.path().join("log"), &folder.path().join("log"));
    let store = Store::open(folder.path(), ids(), LIMITS, StoreId(6)).unwrap();
    let expected = Saved { store: StoreId(6), state: DataState::Blank, ..saved };
    assert_eq!(store.saved(), &expected, "R3: what was saved of reigns stays");
    assert_eq!(store.position().seq.0, 0);
    assert!(folder.path().join("log-aside-0000000000000005").is_dir());
}

#[test]
fn a_lost_log_makes_the_node_blank() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::start(folder.path());
    let saved = complete(&rig.saved);
    rig.ask(|storage, ticket| storage.save(ticket, saved));
    drop(rig);
    fs::remove_dir_all(folder.path().join("log")).unwrap();
    let store = Store::open(folder.path(), ids(), LIMITS, StoreId(6)).unwrap();
    assert_eq!((store.saved().state, store.saved().store), (DataState::Blank, StoreId(6)));
}

#[test]
fn a_lost_saved_file_makes_the_node_new_and_keeps_its_log_aside() {
    let folder = tempfile::tempdir().unwrap();
    Rig::start(folder.path()).fill(3, 10);
    fs::remove_file(folder.path().join("saved")).unwrap();
    let store = Store::open(folder.path(), ids(), LIMITS, StoreId(6)).unwrap();
    assert_eq!(store.saved(), &Saved::blank(ids().cluster, ids().module, node(0), StoreId(6)));
    assert!(folder.path().join("log-aside-000000000000004d").is_dir());
}

fn complete(saved: &Saved) -> Saved {
    let membership = Membership {
        epoch: Epoch::new(4, node(0)),
        holder: node(0),
        set: NodeSet::only(node(0)),
        data: DataId(8),
    };
    Saved { membership, state: DataState::Complete, ..saved.clone() }
}
