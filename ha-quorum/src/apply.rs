//! The table of requests as one pure function, for any store with compare-and-set.

use ha_proto::{
    ClusterId, DataId, DataState, Epoch, Incarnation, Membership, ModuleId, NodeId, NodeSet,
};

use crate::register::{PAIR, Register, is_lease, is_sound};
use crate::request::{Ask, Refusal, Request};

/// What a witness knows besides the register and the ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Whose register is asked for.
    pub cluster: ClusterId,
    /// Which pair of that cluster.
    pub module: ModuleId,
    /// Which life of the witness this is.
    pub incarnation: Incarnation,
    /// Whether the lease that the witness gave has ended, or none was given.
    pub lease_over: bool,
    /// Whether L(1+ρ) has passed since the witness booted or the register was adopted (R9).
    pub grace_over: bool,
}

/// The register after `ask` (`CONTRACT.md` "Messages", the table), to be stored by compare-and-set
/// before the answer is sent.
///
/// The very register comes back when the ask changes nothing: a Read, and a Create that is
/// repeated. A Renew counts in `renewals` and changes nothing else; a store that can time a lease
/// need not store that. An Adopt alone is enough only from a node that may run alone: see
/// [`reconcile`] for two.
///
/// # Errors
/// Why nothing changes. [`Refusal::Empty`] when there is no register and the ask makes none.
pub fn apply(register: Option<&Register>, ask: &Ask, facts: &Facts) -> Result<Register, Refusal> {
    let Some(register) = register else { return begin(ask, facts) };
    assert!(register.cluster == facts.cluster, "a pair would change another cluster's register");
    assert!(register.module == facts.module, "a pair would change another pair's register");
    match ask.request {
        Request::Read => Ok(*register),
        Request::Create { data, .. } => repeat(register, ask, data),
        Request::Adopt { .. } => Err(Refusal::Exists),
        Request::Renew => renew(register, ask),
        Request::Take => take(register, ask, facts),
        Request::Exclude => exclude(register, ask),
        Request::Admit { peer } => admit(register, ask, peer),
        Request::Give { to } => give(register, ask, to, facts),
        Request::Force { membership } => force(register, ask, &membership, facts),
    }
}

/// The register that two Adopts of different nodes make, neither of a blank node: the higher
/// record, its counter raised by two (`CONTRACT.md` "Order", replacement of W).
///
/// By two, because the lost register may have been one change ahead of both. The set may only
/// shrink: the node that does not hold stays in it only if its own record counts it too and it is
/// not being overwritten, and of two sets of one epoch only what both have: a holder saves a grown
/// set before the witness has it (R4). So nobody stays whom the holder's own record does not count:
/// it may have been alone since an operator's override.
///
/// # Errors
/// Why the two do not fit; [`Refusal::Waiting`] when they are of one node.
pub fn reconcile(one: &Ask, other: &Ask, facts: &Facts) -> Result<Register, Refusal> {
    let (mine, my_state) = adoptable(one, facts)?;
    let (theirs, their_state) = adoptable(other, facts)?;
    if one.from == other.from {
        return Err(Refusal::Waiting);
    }
    if one.lease != other.lease {
        return Err(Refusal::LeaseDiffers);
    }
    if mine.data != theirs.data {
        return Err(Refusal::Data);
    }
    let mut higher = if theirs.epoch > mine.epoch { theirs } else { mine };
    if !higher.set.is_subset_of(NodeSet::only(one.from).with(other.from)) {
        return Err(Refusal::Record);
    }
    for (node, record, state) in [(one.from, mine, my_state), (other.from, theirs, their_state)] {
        let counts_itself = record.set.contains(node) && state == DataState::Complete;
        if node != higher.holder && !counts_itself {
            higher.set = higher.set.without(node);
        }
        if record.epoch == higher.epoch || node == higher.holder {
            higher.set =
                NodeSet::from_bits(higher.set.bits() & record.set.bits()).with(higher.holder);
        }
    }
    assert!(
        higher.set.contains(higher.holder),
        "a holder outside the set would not have every write"
    );
    adopted(&higher, one, facts)
}

/// The register that `ask`, an Adopt, makes where there is none, with the other node's in hand or
/// not.
///
/// # Errors
/// As for [`reconcile`]; [`Refusal::Waiting`] when the other one's is needed.
pub(crate) fn adopt(ask: &Ask, other: Option<&Ask>, facts: &Facts) -> Result<Register, Refusal> {
    let (record, _) = adoptable(ask, facts)?;
    let Some(other) = other else { return apply(None, ask, facts) };
    let (theirs, _) = adoptable(other, facts)?;
    if may_run_alone(ask) && theirs.epoch <= record.epoch {
        apply(None, ask, facts)
    } else {
        reconcile(ask, other, facts)
    }
}

/// Whether the sender of this Adopt need not wait for the other node's: it may run alone (R7), so
/// that no other node can have been in the lost set.
fn may_run_alone(ask: &Ask) -> bool {
    match ask.request {
        Request::Adopt { membership, state, .. } => {
            state == DataState::Complete && membership.is_alone(ask.from)
        }
        Request::Read
        | Request::Create { .. }
        | Request::Renew
        | Request::Take
        | Request::Exclude
        | Request::Admit { .. }
        | Request::Give { .. }
        | Request::Force { .. } => false,
    }
}

/// The record and the state of an Adopt that may count.
pub(crate) fn adoptable(ask: &Ask, facts: &Facts) -> Result<(Membership, DataState), Refusal> {
    let Request::Adopt { incarnation, membership, state } = ask.request else {
        return Err(Refusal::Record);
    };
    if incarnation != facts.incarnation {
        return Err(Refusal::Incarnation);
    }
    if state == DataState::Blank {
        return Err(Refusal::Blank);
    }
    if !is_lease(ask.lease) {
        return Err(Refusal::LeaseDiffers);
    }
    if is_sound(&membership) { Ok((membership, state)) } else { Err(Refusal::Record) }
}

fn begin(ask: &Ask, facts: &Facts) -> Result<Register, Refusal> {
    match ask.request {
        Request::Create { incarnation, .. } if incarnation != facts.incarnation => {
            Err(Refusal::Incarnation)
        }
        Request::Create { data, .. } => create(ask, data, facts),
        Request::Adopt { .. } => {
            let (membership, _) = adoptable(ask, facts)?;
            if may_run_alone(ask) {
                adopted(&membership, ask, facts)
            } else {
                Err(Refusal::Waiting)
            }
        }
        Request::Read
        | Request::Renew
        | Request::Take
        | Request::Exclude
        | Request::Admit { .. }
        | Request::Give { .. }
        | Request::Force { .. } => Err(Refusal::Empty),
    }
}

fn create(ask: &Ask, data: DataId, facts: &Facts) -> Result<Register, Refusal> {
    if data == DataId::default() {
        return Err(Refusal::Data);
    }
    if !is_lease(ask.lease) {
        return Err(Refusal::LeaseDiffers);
    }
    let epoch = mint(ask.expected.counter(), 1, ask.from)?;
    let set = NodeSet::only(ask.from);
    Ok(new(Membership { epoch, holder: ask.from, set, data }, ask, facts))
}

/// The answer to the first Create may have been lost: saying it again is no second one.
fn repeat(register: &Register, ask: &Ask, data: DataId) -> Result<Register, Refusal> {
    if ask.lease != register.lease {
        return Err(Refusal::LeaseDiffers);
    }
    let same = register.membership.data == data && register.membership.holder == ask.from;
    if same { Ok(*register) } else { Err(Refusal::Exists) }
}

fn adopted(membership: &Membership, ask: &Ask, facts: &Facts) -> Result<Register, Refusal> {
    let epoch = mint(membership.epoch.counter(), 2, membership.holder)?;
    Ok(new(Membership { epoch, ..*membership }, ask, facts))
}

fn new(membership: Membership, ask: &Ask, facts: &Facts) -> Register {
    assert!(is_sound(&membership), "an unsound register could not be read after a restart");
    Register {
        cluster: facts.cluster,
        module: facts.module,
        membership,
        lease: ask.lease,
        incarnation: facts.incarnation,
        renewals: 0,
    }
}

fn renew(register: &Register, ask: &Ask) -> Result<Register, Refusal> {
    holds(register, ask)?;
    Ok(Register { renewals: register.renewals.wrapping_add(1), ..*register })
}

fn take(register: &Register, ask: &Ask, facts: &Facts) -> Result<Register, Refusal> {
    current(register, ask)?;
    if !register.membership.set.contains(ask.from) {
        return Err(Refusal::NotInSet);
    }
    if register.membership.holder != ask.from {
        over(facts)?;
    }
    changed(register, ask.from, register.membership.set)
}

fn exclude(register: &Register, ask: &Ask) -> Result<Register, Refusal> {
    holds(register, ask)?;
    changed(register, ask.from, NodeSet::only(ask.from))
}

fn admit(register: &Register, ask: &Ask, peer: NodeId) -> Result<Register, Refusal> {
    holds(register, ask)?;
    let set = register.membership.set.with(peer);
    if peer == ask.from || set.len() > PAIR {
        return Err(Refusal::Peer);
    }
    changed(register, ask.from, set)
}

fn give(register: &Register, ask: &Ask, to: NodeId, facts: &Facts) -> Result<Register, Refusal> {
    holds(register, ask)?;
    if to == ask.from {
        return Err(Refusal::Peer);
    }
    if !register.membership.set.contains(to) {
        return Err(Refusal::NotInSet);
    }
    if !facts.grace_over {
        return Err(Refusal::Grace);
    }
    changed(register, to, register.membership.set)
}

fn force(
    register: &Register,
    ask: &Ask,
    membership: &Membership,
    facts: &Facts,
) -> Result<Register, Refusal> {
    current(register, ask)?;
    if !membership.is_alone(ask.from) {
        return Err(Refusal::Record);
    }
    if membership.data != register.membership.data && membership.data != DataId::default() {
        return Err(Refusal::Data);
    }
    over(facts)?;
    let counter = register.membership.epoch.counter().max(membership.epoch.counter());
    let epoch = mint(counter, 1, ask.from)?;
    Ok(with(register, epoch, ask.from, NodeSet::only(ask.from)))
}

/// The sender knows this very register, and counts its lease as the witness does.
fn current(register: &Register, ask: &Ask) -> Result<(), Refusal> {
    if ask.lease != register.lease {
        return Err(Refusal::LeaseDiffers);
    }
    if ask.expected == register.membership.epoch { Ok(()) } else { Err(Refusal::Epoch) }
}

fn holds(register: &Register, ask: &Ask) -> Result<(), Refusal> {
    current(register, ask)?;
    if register.membership.holder == ask.from { Ok(()) } else { Err(Refusal::NotHolder) }
}

/// Nobody else has a right to serve that the witness gave.
fn over(facts: &Facts) -> Result<(), Refusal> {
    if !facts.grace_over {
        return Err(Refusal::Grace);
    }
    if facts.lease_over { Ok(()) } else { Err(Refusal::LeaseHeld) }
}

fn changed(register: &Register, holder: NodeId, set: NodeSet) -> Result<Register, Refusal> {
    let epoch = mint(register.membership.epoch.counter(), 1, holder)?;
    Ok(with(register, epoch, holder, set))
}

fn with(register: &Register, epoch: Epoch, holder: NodeId, set: NodeSet) -> Register {
    let old = register.membership;
    let membership = Membership { epoch, holder, set, data: old.data };
    assert!(epoch > old.epoch, "an epoch that does not rise would leave two holders of one");
    assert!(is_sound(&membership), "an unsound register could not be read after a restart");
    Register { membership, ..*register }
}

/// Only the witness mints. The counter comes from the network, so its end is a refusal.
fn mint(counter: u64, by: u64, holder: NodeId) -> Result<Epoch, Refusal> {
    let counter = counter.saturating_add(by);
    if counter > Epoch::COUNTER_MAX {
        Err(Refusal::Counter)
    } else {
        Ok(Epoch::new(counter, holder))
    }
}
