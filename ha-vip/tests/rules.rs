//! Each rule of a set of addresses, by the whole of what is said.

mod common;

use common::{
    MACS, OTHER, Set, announce, announce_as, at, claim, epoch, event, four, interface, keep,
    question, remove, set, six, take,
};
use ha_proto::{Deadline, Machine};
use ha_vip::{
    Address, AddressSet, Config, Counters, Event, Input, InterfaceId, Mac, OnRemoved, Output,
};

/// The times at which something is sent.
fn times(said: &[(u64, Output)]) -> Vec<u64> {
    let sent = |output: &Output| matches!(output, Output::Transmit { .. });
    let mut times: Vec<_> =
        said.iter().filter(|(_, output)| sent(output)).map(|(time, _)| *time).collect();
    times.dedup();
    times
}

#[test]
fn a_new_set_removes_what_a_killed_process_left() {
    let mut set = Set(AddressSet::new(&common::config(OnRemoved::PutBack)));
    assert_eq!((set.0.deadline(), set.0.epoch()), (None, None));
    assert_eq!(set.tell(0, Input::Release), [remove(1, six()), remove(2, four())]);
    set.done(1, 2, true);
    assert_eq!(set.done(2, 1, true), [event(Event::Released)]);
    assert_eq!(set.tell(3, Input::Release), [event(Event::Released)], "now all is known");
}

#[test]
fn taken_is_what_is_set_and_confirmed_all_of_it() {
    let mut vip = Set::new(OnRemoved::PutBack);
    assert_eq!(vip.tell(10, take(1, 3_000)), [set(3, four(), 3_000), set(4, six(), 3_000)]);
    let due = Deadline { at: at(3_010), why: "address lifetime" };
    assert_eq!(vip.0.deadline(), Some(due));
    assert_eq!(vip.done(20, 4, true), []);
    assert_eq!(vip.0.epoch(), None);
    let taken = [&[event(Event::Taken(epoch(1)))][..], &announce(four()), &announce(six())];
    assert_eq!(vip.done(30, 3, true), taken.concat());
    assert_eq!(vip.0.epoch(), Some(epoch(1)));
    assert_eq!(vip.done(31, 3, false), [], "a ticket counts once");
    assert_eq!(vip.done(31, 99, false), [], "a ticket of nobody");
}

#[test]
fn one_address_that_fails_fails_them_all() {
    let mut vip = Set::new(OnRemoved::PutBack);
    vip.tell(0, take(1, 3_000));
    let failed = [event(Event::Failed(six())), remove(5, six())];
    assert_eq!(vip.done(10, 4, false), failed, "the other one is being set");
    assert_eq!(vip.done(20, 3, true), [remove(6, four())]);
    assert_eq!(vip.done(30, 5, true), []);
    assert_eq!(vip.done(40, 6, true), [event(Event::Released)]);
    assert_eq!((vip.run(60_000), vip.0.epoch()), (vec![], None));
}

#[test]
fn what_is_not_set_within_its_lifetime_failed() {
    let mut vip = Set::new(OnRemoved::PutBack);
    vip.tell(0, take(1, 3_000));
    vip.done(10, 3, true);
    let failed = [event(Event::Failed(four())), remove(5, four())];
    assert_eq!(vip.tick(3_000), failed);
    assert_eq!(vip.done(3_500, 4, true), [remove(6, six())], "whatever it did is undone");
}

#[test]
fn a_right_that_is_over_takes_nothing() {
    let mut vip = Set::new(OnRemoved::PutBack);
    let expected = [event(Event::Failed(four())), event(Event::Released)];
    assert_eq!(vip.tell(0, take(1, 0)), expected);
}

#[test]
fn a_renewal_extends_each_address_from_when_it_is_asked() {
    let mut vip = Set::taken(OnRemoved::PutBack);
    vip.run(500);
    assert_eq!(vip.tell(600, keep(3_000)), [set(5, four(), 3_000), set(6, six(), 3_000)]);
    assert_eq!(vip.tell(700, keep(3_000)), [], "one effect for each address at a time");
    assert_eq!(vip.done(800, 5, true), [set(7, four(), 2_900)], "and then what came meanwhile");
    assert_eq!(vip.tell(900, keep(2_000)), [], "nothing is shortened");
    assert_eq!(vip.done(910, 6, false), [], "the address lives until 3 s all the same");
    let retried = vip.run(1_010);
    let expected = [&announce(four())[..], &announce(six())].concat();
    let (announced, retried): (Vec<_>, Vec<_>) = retried.into_iter().partition(|(t, _)| *t < 1_010);
    assert_eq!(announced.into_iter().map(|(_, output)| output).collect::<Vec<_>>(), expected);
    assert_eq!(retried, [(1_010, set(8, six(), 2_690))]);
}

#[test]
fn without_a_renewal_the_addresses_are_lost_when_their_lifetime_ends() {
    let mut vip = Set::taken(OnRemoved::PutBack);
    vip.run(2_999);
    vip.tell(2_999, Input::Tick);
    let lost = [event(Event::Lost(four())), event(Event::Lost(six()))];
    let expected = [&lost[..], &[remove(5, six()), remove(6, four())]].concat();
    assert_eq!(vip.tick(3_000), expected, "not an announcement, although one is due");
    assert_eq!(vip.tell(3_001, keep(3_000)), [], "too late");
    vip.done(3_002, 5, true);
    assert_eq!(vip.done(3_003, 6, true), [event(Event::Released)]);
    assert_eq!(vip.run(100_000), []);
    assert_eq!(vip.0.counters().lost, 2);
}

#[test]
fn a_renewal_that_is_confirmed_too_late_saves_nothing() {
    let mut vip = Set::taken(OnRemoved::PutBack);
    vip.tell(2_000, keep(3_000));
    vip.done(2_500, 5, true);
    let said = vip.done(3_100, 6, true);
    assert_eq!(said, [event(Event::Lost(six())), remove(7, six()), remove(8, four())]);
}

#[test]
fn a_release_is_silent_and_in_reverse_order_and_insists() {
    let mut vip = Set::taken(OnRemoved::PutBack);
    assert_eq!(vip.tell(50, Input::Release), [remove(5, six()), remove(6, four())]);
    assert_eq!((vip.0.epoch(), vip.0.deadline()), (None, None));
    assert_eq!(vip.tell(51, claim(four(), OTHER)), [], "the next owner is welcome");
    assert_eq!(vip.tell(51, interface(0, false)), []);
    assert_eq!(vip.tell(52, interface(0, true)), []);
    assert_eq!(vip.done(60, 6, true), []);
    assert_eq!(vip.done(70, 5, false), []);
    assert_eq!(vip.tell(80, Input::Release), [], "asked twice, tried no sooner");
    assert_eq!(vip.run(200), [(170, remove(7, six()))]);
    assert_eq!(vip.done(210, 7, false), []);
    assert_eq!(vip.run(400), [(310, remove(8, six()))]);
    assert_eq!(vip.done(410, 8, true), [event(Event::Released)]);
    assert_eq!(vip.run(1_000_000), []);
}

#[test]
fn a_release_waits_for_no_retry_and_leaves_nothing_to_put_back() {
    let mut vip = Set::taken(OnRemoved::PutBack);
    assert_eq!(vip.tell(10, Input::Removed(four())), [set(5, four(), 2_990)]);
    assert_eq!(vip.done(20, 5, false), []);
    assert_eq!(vip.tell(30, Input::Release), [remove(6, six()), remove(7, four())]);
    vip.done(40, 6, true);
    vip.done(40, 7, true);
    vip.tell(50, take(2, 3_000));
    assert_eq!(vip.done(60, 8, true), []);
    assert_eq!(vip.done(60, 9, true)[0], event(Event::Taken(epoch(2))));
    assert_eq!(vip.0.counters().put_backs, 0);
}

#[test]
fn a_take_waits_for_the_end_of_a_release() {
    let mut vip = Set::taken(OnRemoved::PutBack);
    vip.tell(50, Input::Release);
    assert_eq!(vip.tell(60, take(2, 3_000)), []);
    assert_eq!(vip.tell(70, keep(3_000)), []);
    vip.done(80, 5, true);
    let expected = [event(Event::Released), set(7, four(), 2_980), set(8, six(), 2_980)];
    assert_eq!(vip.done(90, 6, true), expected);
    vip.done(91, 7, true);
    assert_eq!(vip.done(92, 8, true)[0], event(Event::Taken(epoch(2))));
}

#[test]
fn a_take_that_waited_longer_than_its_right_failed() {
    let mut vip = Set::taken(OnRemoved::PutBack);
    vip.tell(50, Input::Release);
    vip.tell(60, take(2, 100));
    vip.done(70, 5, true);
    let expected = [event(Event::Failed(four())), event(Event::Released)];
    assert_eq!(vip.done(160, 6, true), expected);
}

#[test]
fn of_takes_that_wait_the_newest_counts() {
    let mut vip = Set::taken(OnRemoved::PutBack);
    vip.tell(50, Input::Release);
    for (counter, lifetime) in [(2, 3_000), (4, 1_000), (3, 9_000), (4, 4_000)] {
        assert_eq!(vip.tell(60, take(counter, lifetime)), []);
    }
    vip.done(60, 5, true);
    let expected = [event(Event::Released), set(7, four(), 4_000), set(8, six(), 4_000)];
    assert_eq!(vip.done(60, 6, true), expected);
    vip.done(61, 7, true);
    assert_eq!(vip.done(62, 8, true)[0], event(Event::Taken(epoch(4))));
}

#[test]
fn a_release_undoes_a_take_and_forgets_one_that_waits() {
    let mut vip = Set::new(OnRemoved::PutBack);
    vip.tell(0, take(1, 3_000));
    vip.done(10, 3, true);
    assert_eq!(vip.tell(20, Input::Release), [remove(5, four())]);
    assert_eq!(vip.tell(21, take(2, 3_000)), []);
    assert_eq!(vip.tell(22, Input::Release), []);
    assert_eq!(vip.done(30, 4, false), [remove(6, six())], "what failed may be there as well");
    vip.done(40, 5, true);
    assert_eq!(vip.done(50, 6, true), [event(Event::Released)]);
}

#[test]
fn a_higher_epoch_takes_over_in_place_and_a_lower_one_is_ignored() {
    let mut vip = Set::taken(OnRemoved::PutBack);
    let extended = [set(5, four(), 3_000), set(6, six(), 3_000), event(Event::Taken(epoch(3)))];
    assert_eq!(vip.tell(10, take(3, 3_000)), extended);
    assert_eq!(vip.tell(20, take(2, 9_000)), []);
    assert_eq!(vip.0.epoch(), Some(epoch(3)));
    assert_eq!(vip.tell(20, take(3, 2_990)), [event(Event::Taken(epoch(3)))], "asked again");
    assert_eq!(times(&vip.run(200)), [50, 150], "the burst goes on");
}

#[test]
fn a_burst_is_followed_by_a_refresh_for_ever() {
    let mut vip = Set::new(OnRemoved::PutBack);
    vip.tell(0, take(1, 600_000));
    vip.done(0, 3, true);
    vip.done(0, 4, true);
    let said = vip.run(100_000);
    let expected = [50, 150, 400, 1_000, 3_000, 10_000, 40_000, 70_000, 100_000];
    assert_eq!(times(&said), expected);
    for time in expected {
        let now: Vec<_> = said.iter().filter(|(at, _)| *at == time).map(|(_, said)| said).collect();
        // Once an earlier owner has had time to let go, a silent one is asked for.
        let asked = |address| if time < 3_000 { vec![] } else { vec![question(address)] };
        let each = [announce(four()), asked(four()), announce(six()), asked(six())].concat();
        assert!(now.into_iter().eq(each.iter()), "each address each time: {time}");
    }
    assert_eq!(vip.0.counters().announcements, 20);
}

#[test]
fn an_interface_that_comes_up_is_told_in_a_burst() {
    let mut vip = Set::taken(OnRemoved::PutBack);
    assert_eq!(vip.tell(10, interface(1, false)), []);
    assert_eq!(vip.run(60).len(), 2, "the other interface only");
    assert_eq!(vip.tell(1_100, interface(1, true))[2..], announce(six()));
    assert_eq!(vip.tell(1_100, interface(1, true)), [], "nothing new");
    let said: Vec<_> = vip.run(1_500).into_iter().map(|(time, _)| time).collect();
    assert_eq!(said, [1_150, 1_250, 1_500]);
    let replaced = Mac([2, 0, 0, 0, 0, 7]);
    let card = Input::Interface { id: InterfaceId(1), mac: Some(replaced), up: true };
    assert_eq!(vip.tell(1_600, card), announce_as(six(), replaced));
    let beyond = Input::Interface { id: InterfaceId(2), mac: None, up: false };
    assert_eq!(vip.tell(1_601, beyond), []);
}

#[test]
fn an_address_is_taken_although_its_interface_is_down_and_told_when_it_is_up() {
    let mut vip = Set::new(OnRemoved::PutBack);
    vip.tell(0, interface(0, false));
    vip.tell(0, take(1, 3_000));
    vip.done(0, 3, true);
    let taken = [&[event(Event::Taken(epoch(1)))][..], &announce(six())].concat();
    assert_eq!(vip.done(0, 4, true), taken);
    let no_card = Input::Interface { id: InterfaceId(0), mac: None, up: true };
    assert_eq!(vip.tell(10, no_card), []);
    assert_eq!(vip.tell(20, interface(0, true)), announce(four()));
}

#[test]
fn the_owner_has_the_last_word_but_at_a_bounded_pace() {
    let mut vip = Set::taken(OnRemoved::PutBack);
    vip.run(500);
    let conflict = event(Event::Conflict { address: four(), mac: OTHER });
    let said = vip.tell(600, claim(four(), OTHER));
    assert_eq!(said, [&[conflict][..], &announce(four())].concat());
    for millis in 601..650 {
        assert_eq!(vip.tell(millis, claim(four(), OTHER)), []);
    }
    let said = vip.run(999);
    assert_eq!(times(&said), [650, 700, 800], "one burst more");
    assert_eq!(vip.run(1_599).last(), Some(&(1_050, announce(four())[1])));
    assert_eq!(vip.tell(1_600, claim(four(), OTHER))[0], conflict, "told once a second");
    assert_eq!(vip.0.counters().conflicts, 51);
}

#[test]
fn the_owner_is_announced_anew_when_it_is_asked() {
    let mut vip = Set::new(OnRemoved::PutBack);
    vip.tell(0, take(1, 60_000));
    vip.done(0, 3, true);
    vip.done(0, 4, true);
    vip.run(20_000);
    let all = [announce(four()), announce(six())].concat();
    assert_eq!(vip.tell(21_000, Input::Announce), all, "the whole set");
    assert_eq!(times(&vip.run(31_000)), [21_050, 21_150, 21_400, 22_000, 24_000, 31_000]);
    vip.tell(31_010, Input::Announce);
    assert_eq!(vip.tell(31_020, Input::Release).len(), 2, "they are removed");
    assert_eq!(vip.tell(31_030, Input::Announce), [], "the next owner is welcome");
}

#[test]
fn what_is_no_claim_of_another_is_ignored() {
    let mut vip = Set::taken(OnRemoved::PutBack);
    let elsewhere = Address { interface: InterfaceId(1), ..four() };
    let stranger = Address { ip: "192.0.2.99".parse().unwrap(), ..four() };
    for (address, mac) in
        [(four(), MACS[0]), (four(), MACS[1]), (elsewhere, OTHER), (stranger, OTHER)]
    {
        assert_eq!(vip.tell(10, claim(address, mac)), []);
    }
    let no_card = Input::Interface { id: InterfaceId(0), mac: None, up: true };
    vip.tell(10, no_card);
    assert_eq!(vip.tell(10, claim(four(), MACS[0])), [], "whose card that is nobody knows");
    let nowhere = Address { interface: InterfaceId(2), ..four() };
    assert_eq!(vip.tell(10, claim(nowhere, OTHER)), []);
    assert_eq!(vip.0.counters().conflicts, 0);
}

#[test]
fn who_does_not_own_an_address_never_announces_it() {
    let mut vip = Set::new(OnRemoved::PutBack);
    assert_eq!(vip.tell(10, claim(four(), OTHER)), []);
    assert_eq!(vip.tell(10, Input::Announce), []);
    vip.tell(20, take(1, 3_000));
    assert_eq!(vip.tell(30, claim(four(), OTHER)), [], "not yet");
    vip.done(40, 3, true);
    assert_eq!(vip.tell(50, claim(four(), OTHER)), [], "not all of them");
}

#[test]
fn what_others_remove_is_put_back_and_told() {
    let mut vip = Set::taken(OnRemoved::PutBack);
    vip.run(500);
    assert_eq!(vip.tell(600, Input::Removed(six())), [set(5, six(), 2_400)]);
    assert_eq!(vip.tell(601, Input::Removed(Address { prefix: 128, ..six() })), []);
    assert_eq!(vip.done(610, 5, false), []);
    assert_eq!(vip.run(709), [], "no word of an address that is not there");
    assert_eq!(vip.run(720), [(710, set(6, six(), 2_290))]);
    let back = [&[event(Event::PutBack(six()))][..], &announce(six())].concat();
    assert_eq!(vip.done(730, 6, true), back);
    let counters = vip.0.counters();
    assert_eq!((counters.put_backs, counters.lost), (1, 0));
}

#[test]
fn an_address_that_others_set_is_given_its_lifetime_again() {
    for on_removed in [OnRemoved::PutBack, OnRemoved::StepDown] {
        let mut vip = Set::taken(on_removed);
        assert_eq!(vip.tell(10, Input::Appeared(four())), [set(5, four(), 2_990)]);
        assert_eq!(vip.tell(10, Input::Removed(four())), [], "it is being set anyway");
        assert_eq!(vip.done(40, 5, true), [set(6, four(), 2_960)], "which of both came last?");
        assert_eq!(vip.done(60, 6, true)[0], event(Event::PutBack(four())));
        vip.tell(70, Input::Release);
        assert_eq!(vip.tell(71, Input::Appeared(four())), [], "it is being removed anyway");
    }
    let mut vip = Set::new(OnRemoved::PutBack);
    assert_eq!(vip.tell(0, Input::Appeared(four())), [event(Event::Foreign(four()))]);
    assert_eq!(vip.tell(0, Input::Removed(four())), []);
}

#[test]
fn an_address_that_cannot_be_put_back_is_lost_with_its_lifetime() {
    let mut vip = Set::taken(OnRemoved::PutBack);
    vip.tell(0, interface(1, false));
    assert_eq!(vip.tell(100, Input::Removed(four())), [set(5, four(), 2_900)]);
    let mut said = vec![(100, set(5, four(), 2_900))];
    let mut tried = vec![];
    while let [(time, Output::Set { ticket, .. })] = said[..] {
        tried.push(time);
        assert_eq!(vip.tell(time, Input::Done { ticket, done: false }), []);
        said = vip.run(time + 100);
    }
    assert_eq!(tried, (1..30).map(|step| step * 100).collect::<Vec<_>>());
    let lost = [event(Event::Lost(four())), event(Event::Lost(six()))];
    let expected = [&lost[..], &[remove(34, six()), remove(35, four())]].concat();
    assert_eq!(said, expected.into_iter().map(|output| (3_000, output)).collect::<Vec<_>>());
}

#[test]
fn two_agents_do_not_fight_for_ever() {
    let mut vip = Set::new(OnRemoved::PutBack);
    vip.tell(0, take(1, 600_000));
    vip.done(0, 3, true);
    vip.done(0, 4, true);
    for time in 1..=5 {
        vip.run(time * 1_000);
        vip.tell(time * 1_000, Input::Removed(four()));
        vip.done(time * 1_000, 4 + time, true);
    }
    vip.run(6_000);
    let expected = [event(Event::Lost(four())), remove(10, six()), remove(11, four())];
    assert_eq!(vip.tell(6_000, Input::Removed(four())), expected);
    let counters = vip.0.counters();
    assert_eq!((counters.put_backs, counters.lost), (5, 1));
}

#[test]
fn the_policy_may_be_to_step_down() {
    let mut vip = Set::taken(OnRemoved::StepDown);
    let expected = [event(Event::Lost(six())), remove(5, six()), remove(6, four())];
    assert_eq!(vip.tell(10, Input::Removed(six())), expected);
    let mut vip = Set::new(OnRemoved::StepDown);
    vip.tell(0, take(1, 3_000));
    vip.done(10, 3, true);
    let expected = [event(Event::Failed(four())), remove(5, four())];
    assert_eq!(vip.tell(20, Input::Removed(four())), expected, "it was not taken yet");
}

#[test]
fn the_largest_set_fits_in_the_outbox() {
    let of = |at: u8| Address { ip: [10, 0, 0, at].into(), prefix: 24, interface: InterfaceId(0) };
    let addresses: Vec<_> = (1..=64).map(of).collect();
    let config = Config::new(1, addresses, Config::REFRESH, OnRemoved::PutBack).unwrap();
    let mut vip = Set(AddressSet::new(&config));
    vip.tell(0, interface(0, true));
    assert_eq!(vip.tell(0, take(1, 3_000)).len(), 64);
    for ticket in 1..64 {
        assert_eq!(vip.done(0, ticket, true), []);
    }
    assert_eq!(vip.done(0, 64, true).len(), 1 + 64 * 2);
    assert_eq!(vip.tell(50, keep(3_000)).len(), 64 * 3, "extended and announced at once");
    assert_eq!(vip.tick(3_000).len(), 64, "all lost, and each is being extended");
    let counters = Counters { announcements: 128, lost: 64, ..Counters::default() };
    assert_eq!(vip.0.counters(), counters);
}
