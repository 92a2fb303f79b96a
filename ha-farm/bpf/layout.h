/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the filter's maps hold. `ha_core::linux::plane` writes them, with the same table.
 *
 * map       key                       value
 * active    0                         u32: bit 0 the slot of config and words, bit 1 that of lease
 * lease     slot                      u64: open until then, CLOCK_BOOTTIME in nanoseconds (F5)
 * config    slot                      struct config
 * words     slot * 16 + service       u32[4096], one a bucket: owner, previous, previous, flags
 * members   MAC, slot in bits 48..    u8: whose, to know a frame that was handed on (F9)
 * released  struct flow               u8: this node's claim to it has ended (F8)
 * counters  0                         u64[COUNTERS] per CPU, see the enum below
 *
 * A view is written to the slot that is not in use; then one byte of `active` is changed. A lease
 * too, for the kernel may copy eight bytes one by one.
 *
 * struct config                        struct rule
 *    0  u64[4]    SipHash's start         0  u8[16]  VIP, IPv4 in the first four
 *   32  u64[128]  MAC of each node       16  u8[16]  on_net: mask
 * 1056  u64       this node's MAC        32  u16     first port
 * 1064  u8        this node              34  u16     last port
 * 1065  u8        1: directed            36  u8      6 TCP, 17 UDP
 * 1066  u8        1: uncovered = pass    37  u8      0 addr, 1 addr_port, 2 net, 3 ipid
 * 1067  u8        how many rules         38  u8      1: IPv6
 * 1068  u8        1: look for claims     39  u8      0
 * 1069  u8[3]     0                      40  u32     buckets - 1
 * 1072  rule[16]                         44  u32     0
 *
 * MACs are six bytes in the order of the wire, then zeros; numbers are the machine's.
 */
#ifndef HA_FARM_LAYOUT_H
#define HA_FARM_LAYOUT_H

#define RULES 16
#define BUCKETS 4096
#define NODES 128
#define NONE 0xff
#define TAKE (1u << 24)
#define DRAIN (1u << 25)
#define RELEASED_MAX 65536

enum on { ON_ADDR, ON_ADDR_PORT, ON_NET, ON_IPID };

struct rule {
	__u64 vip[2];
	__u64 mask[2];
	__u16 first;
	__u16 last;
	__u8 protocol;
	__u8 on;
	__u8 v6;
	__u8 pad;
	__u32 buckets_mask;
	__u32 zero;
};

struct config {
	__u64 sip[4];
	__u64 macs[NODES];
	__u64 mac;
	__u8 me;
	__u8 directed;
	__u8 uncovered_pass;
	__u8 rules;
	__u8 releases;
	__u8 pad[3];
	struct rule rule[RULES];
};

struct flow {
	__u32 client[4];
	__u32 vip[4];
	__u16 client_port;
	__u16 port;
};

/* As `ha_farm::Reason`; the place of each counter. */
enum reason {
	CLOSED,
	NOT_MINE,
	NOT_YET,
	NOBODY,
	NO_SOCKET,
	RELEASED,
	UNCOVERED,
	ELSEWHERE,
	MALFORMED,
	TRUNCATED,
	HEADERS,
	FRAGMENT,
	EMBEDDED,
	PASSED,
	NEIGHBOUR,
	ACCEPTED_OF = 16,	/* and the service */
	FORWARDED_OF = 32,	/* and the service */
	OWNED_BY = 64,		/* and service * 128 and the owner */
	COUNTERS = OWNED_BY + RULES * NODES,
};

_Static_assert(sizeof(struct rule) == 48, "layout of a rule");
_Static_assert(sizeof(struct config) == 1840, "layout of a configuration");
_Static_assert(sizeof(struct flow) == 36, "layout of a flow");

#endif
