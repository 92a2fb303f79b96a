//! Who may see, and who may order.

use std::fs;
use std::prelude::rust_2024::*;

use crate::control::{Exit, Refused};

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum May {
    /// Nothing.
    Nothing,
    /// Look at everything but the configuration.
    See,
    /// Order.
    Order,
}

/// Users and groups of this machine, as far as they matter here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Roll {
    passwd: String,
    group: String,
}

/// Who may see.
const SEERS: &str = "ha";
/// Who may order.
const ORDERERS: &str = "ha-admin";

impl Roll {
    /// Reads `/etc/passwd` and `/etc/group`: what cannot be read names nobody.
    pub(crate) fn read() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Self { passwd: read("/etc/passwd"), group: read("/etc/group") }
    }

    /// What the process at the other end may do: root and the daemon's own user everything, others
    /// what the groups `ha` and `ha-admin` say.
    pub(crate) fn may(&self, uid: u32, gid: u32, own: u32) -> May {
        if uid == 0 || uid == own {
            return May::Order;
        }
        let user = self.user(uid);
        let is = |group| self.is_member(group, user, gid);
        if is(ORDERERS) {
            May::Order
        } else if is(SEERS) {
            May::See
        } else {
            May::Nothing
        }
    }

    fn user(&self, uid: u32) -> Option<&str> {
        fields(&self.passwd).find(|row| number(row.get(2)) == Some(uid))?.first().copied()
    }

    fn is_member(&self, group: &str, user: Option<&str>, gid: u32) -> bool {
        let Some(row) = fields(&self.group).find(|row| row.first() == Some(&group)) else {
            return false;
        };
        let named = |user| row.get(3).is_some_and(|list| list.split(',').any(|it| it == user));
        number(row.get(2)) == Some(gid) || user.is_some_and(named)
    }
}

impl May {
    /// # Errors
    /// What is missing for `wanted`, and how to get it.
    pub(crate) fn allow(self, wanted: Self) -> Result<(), Refused> {
        if self >= wanted {
            return Ok(());
        }
        let text = match wanted {
            Self::Nothing | Self::See => {
                "not allowed: who may see is root or in the group ha or ha-admin (usermod -aG ha \
                 USER)"
            }
            Self::Order => {
                "not allowed: who may order is root or in the group ha-admin (usermod -aG ha-admin \
                 USER)"
            }
        };
        Err(Refused::new(Exit::Denied, text))
    }
}

fn fields(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().map(|line| line.split(':').collect())
}

fn number(field: Option<&&str>) -> Option<u32> {
    field?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roll(group: &str) -> Roll {
        let passwd = "root:x:0:0:::\nann:x:1001:1001:::\nbob:x:1002:1002:::\neve:x:1003:1003:::\n";
        Roll { passwd: passwd.into(), group: group.into() }
    }

    #[test]
    fn root_and_the_daemon_order_and_others_as_their_groups_say() {
        let roll = roll("ha:x:500:bob,ann\nha-admin:x:501:ann\n");
        let rows = [
            (0, 0, May::Order),
            (900, 900, May::Order),
            (1001, 1001, May::Order),
            (1002, 1002, May::See),
            (1003, 1003, May::Nothing),
            (1003, 500, May::See),
            (1003, 501, May::Order),
            (4_000, 4_000, May::Nothing),
        ];
        for (uid, gid, may) in rows {
            assert_eq!(roll.may(uid, gid, 900), may, "{uid}:{gid}");
        }
    }

    #[test]
    fn without_the_groups_only_root_and_the_daemon_are_let_in() {
        for text in ["", "ha\nha-admin:x", "haha:x:500:ann\n", "ha:x:none:ann-marie\n"] {
            assert_eq!(roll(text).may(1001, 1001, 900), May::Nothing, "{text:?}");
        }
        assert_eq!(Roll::default().may(0, 0, 900), May::Order);
    }

    #[test]
    fn a_refusal_says_which_group_is_missing() {
        assert_eq!(May::Order.allow(May::See), Ok(()));
        let denied = May::See.allow(May::Order).unwrap_err();
        assert_eq!(denied.exit, Exit::Denied);
        assert!(denied.text.contains("usermod -aG ha-admin USER"));
        assert!(May::Nothing.allow(May::See).unwrap_err().text.contains("usermod -aG ha USER"));
    }
}
