//! Names and numbers as JSON: what status pages and tools read.
#![cfg(feature = "serde")]
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use ha_proto::{
    Chain, DataId, DataState, Epoch, Membership, ModuleId, NodeId, NodeSet, Position, Role, Seq,
};

fn node(id: u8) -> NodeId {
    NodeId::new(id).unwrap()
}

#[test]
fn a_record_is_readable() {
    let set = NodeSet::only(node(0)).with(node(1));
    let record =
        Membership { epoch: Epoch::new(3, node(1)), holder: node(1), set, data: DataId(9) };
    let json = r#"{"epoch":769,"holder":1,"set":[0,1],"data":9}"#;
    assert_eq!(serde_json::to_string(&record).unwrap(), json);
    assert_eq!(serde_json::from_str::<Membership>(json).unwrap(), record);
}

#[test]
fn a_position_is_readable() {
    let position = Position { epoch: Epoch::new(1, node(0)), seq: Seq(2), chain: Chain(3) };
    let json = r#"{"epoch":256,"seq":2,"chain":3}"#;
    assert_eq!(serde_json::to_string(&position).unwrap(), json);
    assert_eq!(serde_json::from_str::<Position>(json).unwrap(), position);
}

#[test]
fn words_are_the_fields_own() {
    let words = (Role::Second, DataState::Complete, ModuleId(7));
    assert_eq!(serde_json::to_string(&words).unwrap(), r#"["SECOND","complete",7]"#);
}

#[test]
fn an_id_out_of_range_is_an_error() {
    let error = serde_json::from_str::<NodeSet>("[0,128]").unwrap_err();
    assert!(error.to_string().starts_with("128 is no node id: they go from 0 to 127"));
}
