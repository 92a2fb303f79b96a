//! What members tell each other, as bytes. The golden ones are never edited, only added to.

use bytes::Bytes;
use ha_heartbeat::group::{Beat, Echo, Part, Proposal, Pull, Said, State, ViewId};
use ha_proto::codec::{DecodeError, Reader};
use ha_proto::{Boot, wire};
use proptest::prelude::*;

use crate::rig::{node, set};

fn view() -> ViewId {
    ViewId { counter: 0x0102, coordinator: node(5), boot: Boot(0x0304) }
}

fn view_bytes() -> Vec<u8> {
    vec![0, 0, 0, 0, 0, 0, 1, 2, 5, 0, 0, 0, 0, 0, 0, 3, 4]
}

fn word(word: u64) -> Vec<u8> {
    word.to_be_bytes().to_vec()
}

fn beat() -> Beat {
    Beat {
        boot: Boot(0x11),
        number: 9,
        said: Said {
            view: Some(view()),
            members: set(&[0, 5, 63]),
            state: State::Takes,
            highest: 0x0102,
            hears: set(&[5]),
            accord: 0x21,
            next: 0x22,
        },
        echoes: vec![
            Echo { node: node(0), boot: 0x31, number: 0x41 },
            Echo { node: node(5), boot: 0x32, number: 0x42 },
        ],
        facts: Bytes::from_static(b"facts"),
    }
}

fn beat_bytes() -> Vec<u8> {
    [
        word(0x11),
        view_bytes(),
        word(1 << 63 | 1 << 5 | 1),
        vec![1],
        word(0x0102),
        word(1 << 5),
        word(0x21),
        word(0x22),
        vec![2],
        vec![0, 0, 0, 0, 0x31],
        word(0x41),
        vec![5, 0, 0, 0, 0x32],
        word(0x42),
        b"facts".to_vec(),
    ]
    .concat()
}

fn part() -> Part {
    let bytes = Bytes::from_static(b"table");
    Part { boot: Boot(0x11), id: view(), part: 2, parts: 0x0103, bytes }
}

fn part_bytes() -> Vec<u8> {
    [word(0x11), view_bytes(), vec![0, 2, 1, 3], b"table".to_vec()].concat()
}

fn pull() -> Pull {
    Pull { boot: Boot(0x11), id: view(), part: 2, count: 16 }
}

fn pull_bytes() -> Vec<u8> {
    [word(0x11), view_bytes(), vec![0, 2, 0, 16]].concat()
}

fn proposal() -> Proposal {
    let members = [(node(0), Boot(7)), (node(5), Boot(0x0304))].into();
    Proposal { id: view(), members, body: Bytes::from_static(b"weights") }
}

fn proposal_bytes() -> Vec<u8> {
    [view_bytes(), vec![2, 0], word(7), vec![5], word(0x0304), b"weights".to_vec()].concat()
}

fn bytes(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out);
    out
}

#[test]
fn the_golden_bytes_stay() {
    assert_eq!(bytes(|out| beat().encode(out)), beat_bytes());
    assert_eq!(Beat::decode(9, &beat_bytes()), Ok(beat()));
    assert_eq!(bytes(|out| part().encode(out)), part_bytes());
    assert_eq!(Part::decode(&part_bytes()), Ok(part()));
    assert_eq!(bytes(|out| pull().encode(out)), pull_bytes());
    assert_eq!(Pull::decode(&pull_bytes()), Ok(pull()));
    assert_eq!(bytes(|out| proposal().encode(out)), proposal_bytes());
    assert_eq!(Proposal::decode(&proposal_bytes()), Ok(proposal()));
    assert_eq!(bytes(|out| ViewId::encode(Some(view()), out)), view_bytes());
    assert_eq!(bytes(|out| ViewId::encode(None, out)), [0; ViewId::LEN]);
    let none = ViewId::decode(&mut Reader::new(&[0; ViewId::LEN]), "it");
    assert_eq!(none, Ok(None));
    for (state, byte) in
        [(State::Nothing, 0), (State::Takes, 1), (State::Unable, 2), (State::Waits, 3)]
    {
        let said = Said { state, ..beat().said };
        let mut golden = beat_bytes();
        golden[33] = byte;
        assert_eq!(bytes(|out| Beat { said, ..beat() }.encode(out)), golden);
    }
}

fn invalid<T>(field: &'static str) -> Result<T, DecodeError> {
    Err(DecodeError::Invalid(field))
}

#[test]
fn what_nobody_can_have_said_is_refused() {
    let beat = |at: usize, byte: u8| {
        let mut bytes = beat_bytes();
        bytes[at] = byte;
        Beat::decode(9, &bytes)
    };
    assert_eq!(Beat::decode(0, &beat_bytes()), invalid("the beat's number"));
    assert_eq!(beat(16, 64), invalid("the view"), "the coordinator is beyond 63");
    assert_eq!(beat(33, 4), invalid("the state"));
    assert_eq!(beat(66, 64), invalid("the number of echoes"));
    assert_eq!(beat(80, 0), invalid("an echo"), "one node twice");
    assert_eq!(beat(80, 64), invalid("an echo"), "no member has that id");
    let mut nowhere = beat_bytes();
    nowhere[8..25].fill(0);
    assert_eq!(Beat::decode(9, &nowhere), invalid("the members"), "members of no view");
    nowhere[25..33].fill(0);
    assert_eq!(Beat::decode(9, &nowhere), invalid("the state"), "it takes in no view");
    let long = [beat_bytes(), vec![0; 196]].concat();
    assert_eq!(Beat::decode(9, &long), invalid("the facts"));
    let part = |change: fn(&mut Vec<u8>)| {
        let mut bytes = part_bytes();
        change(&mut bytes);
        Part::decode(&bytes)
    };
    assert_eq!(part(|bytes| bytes[25] = 2), invalid("the part"), "beyond the last one");
    assert_eq!(part(|bytes| bytes[27] = 5), invalid("the part"), "more than any table needs");
    assert_eq!(part(|bytes| bytes.truncate(29)), invalid("the part"), "nothing in it");
    assert_eq!(part(|bytes| bytes.extend([0; 1_096])), invalid("the part"), "too long");
    assert_eq!(part(|bytes| bytes[8..25].fill(0)), invalid("the view"));
    let pull = |at: usize, byte: u8| {
        let mut bytes = pull_bytes();
        bytes[at] = byte;
        Pull::decode(&bytes)
    };
    assert_eq!(pull(28, 0), invalid("the part"), "none at all");
    assert_eq!(pull(28, 17), invalid("the part"), "an answer would be a flood");
    assert_eq!(pull(25, 4), invalid("the part"), "no table has so many");
    let view = |at: usize, byte: u8| {
        let mut bytes = proposal_bytes();
        bytes[at] = byte;
        Proposal::decode(&bytes)
    };
    assert_eq!(view(18, 5), invalid("a member"), "one member twice");
    assert_eq!(view(18, 64), invalid("a member"));
    assert_eq!(view(8, 1), invalid("the coordinator"), "who makes a view is in it");
    assert_eq!(view(17, 0), invalid("the coordinator"), "a view without members");
}

#[test]
fn bytes_that_end_early_are_refused() {
    let fields = beat_bytes().len() - b"facts".len();
    for len in 0..fields {
        assert!(Beat::decode(9, &beat_bytes()[..len]).is_err(), "{len}");
    }
    for len in 0..30 {
        assert!(Part::decode(&part_bytes()[..len.min(29)]).is_err(), "{len}");
    }
    for len in 0..pull_bytes().len() {
        assert!(Pull::decode(&pull_bytes()[..len]).is_err(), "{len}");
    }
    let more = [pull_bytes(), vec![0]].concat();
    assert_eq!(Pull::decode(&more), Err(DecodeError::Trailing));
    for len in 0..36 {
        assert!(Proposal::decode(&proposal_bytes()[..len]).is_err(), "{len}");
    }
}

#[test]
fn the_longest_beat_of_64_members_fits_a_datagram() {
    let echo = |id| Echo { node: node(id), boot: u32::MAX, number: u64::MAX };
    let long = Beat {
        echoes: (1..64).map(echo).collect(),
        facts: vec![0xff; Beat::FACTS_MAX].into(),
        ..beat()
    };
    let body = bytes(|out| long.encode(out));
    assert_eq!(body.len(), Beat::LEN_MAX);
    assert!(body.len() <= wire::LONG_BODY_MAX, "1,200 bytes with header and MAC");
    assert_eq!(Beat::decode(9, &body), Ok(long));
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_encode_to_themselves(
        which in 0..4_usize,
        spoils in prop::collection::vec((0..120_usize, any::<u8>()), 0..4),
        noise in prop::collection::vec(any::<u8>(), 0..200),
        from_noise in any::<bool>(),
    ) {
        let golden = [beat_bytes(), part_bytes(), pull_bytes(), proposal_bytes()];
        let mut body = if from_noise { noise } else { golden[which].clone() };
        for (at, byte) in spoils {
            if let Some(place) = body.get_mut(at) {
                *place = byte;
            }
        }
        if let Ok(beat) = Beat::decode(9, &body) {
            prop_assert_eq!(&bytes(|out| beat.encode(out)), &body);
        }
        if let Ok(part) = Part::decode(&body) {
            prop_assert_eq!(&bytes(|out| part.encode(out)), &body);
        }
        if let Ok(pull) = Pull::decode(&body) {
            prop_assert_eq!(&bytes(|out| pull.encode(out)), &body);
        }
        if let Ok(proposal) = Proposal::decode(&body) {
            prop_assert_eq!(&bytes(|out| proposal.encode(out)), &body);
        }
    }
}
