// SPDX-License-Identifier: MIT OR Apache-2.0
/* Who takes a packet, in the kernel: what `ha_farm::Filter::examine` says, in the same order and
 * under the same names. Each of the two is tested against the other with the same frames.
 *
 * `ha_farm_tc` decides at ingress of an interface. `ha_farm_xdp` comes first where the driver has
 * XDP, and drops what the other one would drop without asking for a socket; all else it lets go on:
 * XDP cannot make a packet to a virtual MAC this host's.
 */
#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "layout.h"

#define INLINE static __always_inline
/* Not static: the verifier looks at it once, whatever it is called with, and so at each in turn
 * instead of all their combinations. What they are given by pointer it does not believe. */
#define APART __attribute__((noinline))
#define TAGS_MAX 2
#define HEADERS_MAX 8
#define ETH 14
#define V4_LEN 20
#define V6_LEN 40
#define TCP_LEN 20
#define UDP_LEN 8
#define ICMP_LEN 8
#define PACKET_HOST 0
#define PACKET_OTHERHOST 3
#define ACK 0x10

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} active SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} lease SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct config);
} config SEC(".maps");

struct words {
	__u32 of[BUCKETS];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * RULES);
	__type(key, __u32);
	__type(value, struct words);
} words SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2 * NODES);
	__type(key, __u64);
	__type(value, __u8);
} members SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, RELEASED_MAX);
	__type(key, struct flow);
	__type(value, __u8);
} released SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

/* Tests set it: the decision then lies in the packet's control block, and nothing is handed on.
 * Otherwise the verifier removes all of that. */
const volatile __u32 TRACE = 0;

enum what { OTHER, PORTS, PORTLESS, ECHO };
enum part { WHOLE, FIRST, LATER };

struct address {
	__u32 word[4];
};

/* A packet to a VIP, as `ha_farm::packet::Packet`; ports in the machine's order. */
struct packet {
	struct flow flow;
	__u16 id;
	__u8 has_id;
	__u8 protocol;
	__u8 what;
	__u8 syn;
	__u8 embedded;
	__u8 v6;
	__u32 l3;		/* where the IP header begins */
	__u32 l4;		/* where TCP's begins, of a packet that is not embedded */
	__u8 flags;
	__u8 first;		/* the first rule of its VIP */
};

/* What follows the extension headers, as `ha_farm::packet::Upper`; `at` from the IP header. */
struct upper {
	__u32 at;
	__u8 protocol;
	__u8 part;
};

INLINE void count(__u32 which)
{
	__u64 *counter = bpf_map_lookup_elem(&counters, &which);
	if (counter)
		(*counter)++;
}

/* Copies `n` bytes, a multiple of two, from the frame. Not 0: the frame is too short. */
INLINE long load(void *ctx, const int xdp, __u32 at, void *to, const __u32 n)
{
	if (at < 0x1000) {
		void *from, *end;
		if (xdp) {
			from = (void *)(long)((struct xdp_md *)ctx)->data + at;
			end = (void *)(long)((struct xdp_md *)ctx)->data_end;
		} else {
			from = (void *)(long)((struct __sk_buff *)ctx)->data + at;
			end = (void *)(long)((struct __sk_buff *)ctx)->data_end;
		}
		if (from + n <= end) {
#pragma unroll
			for (__u32 i = 0; i < n / 4; i++)
				((__u32 *)to)[i] = ((__u32 *)from)[i];
			if (n % 4)
				((__u16 *)to)[n / 2 - 1] = ((__u16 *)from)[n / 2 - 1];
			return 0;
		}
	}
	return xdp ? bpf_xdp_load_bytes(ctx, at, to, n) : bpf_skb_load_bytes(ctx, at, to, n);
}

#define ROTATE(x, b) (((x) << (b)) | ((x) >> (64 - (b))))
#define ROUND				\
	do {				\
		v0 += v1;		\
		v1 = ROTATE(v1, 13);	\
		v1 ^= v0;		\
		v0 = ROTATE(v0, 32);	\
		v2 += v3;		\
		v3 = ROTATE(v3, 16);	\
		v3 ^= v2;		\
		v0 += v3;		\
		v3 = ROTATE(v3, 21);	\
		v3 ^= v0;		\
		v2 += v1;		\
		v1 = ROTATE(v1, 17);	\
		v1 ^= v2;		\
		v2 = ROTATE(v2, 32);	\
	} while (0)
#define ABSORB(m)			\
	do {				\
		v3 ^= (m);		\
		ROUND;			\
		ROUND;			\
		v0 ^= (m);		\
	} while (0)

/* SipHash-2-4 of an address of IPv6 or of nothing, and then of `last`, which has the length on
 * top. */
INLINE __u32 siphash(const struct config *config, const __u32 *v6, __u64 last)
{
	__u64 v0 = config->sip[0], v1 = config->sip[1];
	__u64 v2 = config->sip[2], v3 = config->sip[3];

	if (v6) {
		ABSORB(v6[0] | (__u64)v6[1] << 32);
		ABSORB(v6[2] | (__u64)v6[3] << 32);
	}
	ABSORB(last);
	v2 ^= 0xff;
	ROUND;
	ROUND;
	ROUND;
	ROUND;
	return (__u32)(v0 ^ v1 ^ v2 ^ v3);
}

INLINE int same(const __u32 *one, const __u32 *other, int v6)
{
	if (one[0] != other[0])
		return 0;
	return !v6 || (one[1] == other[1] && one[2] == other[2] && one[3] == other[3]);
}

INLINE const struct config *config_of(__u32 slots)
{
	__u32 slot = slots & 1;

	return bpf_map_lookup_elem(&config, &slot);
}

/* The first rule with this VIP, or RULES. */
INLINE __u32 first_of(const struct config *config, const __u32 *vip, int v6)
{
	for (__u32 i = 0; i < RULES; i++) {
		if (i >= config->rules)
			break;
		if (config->rule[i].v6 == v6 && same(config->rule[i].vip, vip, v6))
			return i;
	}
	return RULES;
}

APART __u32 first_v4(__u32 vip, const struct config *config)
{
	return config ? first_of(config, &vip, 0) : RULES;
}

APART __u32 first_v6(const struct address *vip, const struct config *config)
{
	return config && vip ? first_of(config, vip->word, 1) : RULES;
}

/* Walks over extension headers; `limit` is the packet's length from its IP header at `base`.
 * 0, or 1 and the reason. */
INLINE int walk(void *ctx, const int xdp, __u32 base, __u32 limit, __u8 protocol,
		struct upper *upper)
{
	__u32 at = V6_LEN;

	for (int i = 0; i <= HEADERS_MAX; i++) {
		__u8 header[4] __attribute__((aligned(4)));
		__u32 step;

		if (protocol != 0 && protocol != 43 && protocol != 44 && protocol != 51 &&
		    protocol != 60) {
			upper->at = at;
			upper->protocol = protocol;
			upper->part = WHOLE;
			return 0;
		}
		if (at + 2 > limit || load(ctx, xdp, base + at, header, 2))
			return 1 + TRUNCATED;
		if (protocol == 44) {
			__u16 offset;
			if (at + 4 > limit || load(ctx, xdp, base + at + 2, header + 2, 2))
				return 1 + TRUNCATED;
			offset = header[2] << 8 | header[3];
			step = 8;
			if (offset & 0xfff9) {
				upper->at = at + step;
				upper->protocol = header[0];
				upper->part = offset & 0xfff8 ? LATER : FIRST;
				return 0;
			}
		} else if (protocol == 51) {
			step = 4 * (header[1] + 2);
		} else {
			step = 8 * (header[1] + 1);
		}
		at += step;
		if (at > limit)
			return 1 + TRUNCATED;
		protocol = header[0];
	}
	return 1 + HEADERS;
}

APART int walk_tc(struct __sk_buff *skb, __u32 base, __u32 limit, __u32 protocol,
		  struct upper *upper)
{
	return upper ? walk(skb, 0, base, limit, protocol, upper) : 1 + TRUNCATED;
}

APART int walk_xdp(struct xdp_md *xdp, __u32 base, __u32 limit, __u32 protocol,
		   struct upper *upper)
{
	return upper ? walk(xdp, 1, base, limit, protocol, upper) : 1 + TRUNCATED;
}

#define WALK(ctx, xdp, base, limit, protocol, upper)			\
	((xdp) ? walk_xdp(ctx, base, limit, protocol, upper)		\
	       : walk_tc(ctx, base, limit, protocol, upper))

/* Ports of a whole packet whose header after IP's begins at `at`, and ends at `limit` at most. */
INLINE int ports(void *ctx, const int xdp, __u32 at, __u32 room, struct packet *p)
{
	__u16 header[4] __attribute__((aligned(4)));
	__u32 need = p->protocol == IPPROTO_TCP ? TCP_LEN : UDP_LEN;

	if (room < need || load(ctx, xdp, at, header, 4))
		return 1 + TRUNCATED;
	p->what = PORTS;
	p->flow.client_port = bpf_ntohs(header[0]);
	p->flow.port = bpf_ntohs(header[1]);
	p->l4 = at;
	if (p->protocol == IPPROTO_TCP) {
		if (load(ctx, xdp, at + 12, header, 2))
			return 1 + TRUNCATED;
		p->flags = header[0] >> 8;
		p->syn = (p->flags & 0x12) == 0x02;
	}
	return 0;
}

/* What follows the header of a packet of ours, `room` bytes of it, its ports the other way round. */
INLINE int embedded(void *ctx, const int xdp, __u8 protocol, __u8 icmp, __u32 at, __u32 room,
		    struct packet *p)
{
	__u16 both[2] __attribute__((aligned(4)));

	p->embedded = 1;
	p->has_id = 0;
	if (protocol == icmp) {
		p->what = ECHO;
	} else if (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP) {
		p->protocol = protocol;
		p->what = PORTLESS;
		if (room >= 4 && room < 0x10000 && !load(ctx, xdp, at, both, 4)) {
			p->what = PORTS;
			p->flow.port = bpf_ntohs(both[0]);
			p->flow.client_port = bpf_ntohs(both[1]);
		}
	} else {
		p->what = OTHER;
	}
	return 0;
}

/* The IPv4 packet of `room` bytes at `at` that an ICMP error is about. */
INLINE int v4_embedded(void *ctx, const int xdp, __u32 at, __u32 room, struct packet *p)
{
	__u32 header[5];
	const __u8 *byte = (const __u8 *)header;
	__u32 len;

	if (room < V4_LEN || load(ctx, xdp, at, header, V4_LEN))
		return 1 + EMBEDDED;
	len = (byte[0] & 0xf) * 4;
	if (byte[0] >> 4 != 4 || len < V4_LEN || header[3] != p->flow.vip[0])
		return 1 + EMBEDDED;
	p->flow.client[0] = header[4];
	if ((byte[6] << 8 | byte[7]) & 0x1fff || room < len)
		room = len;
	return embedded(ctx, xdp, byte[9], IPPROTO_ICMP, at + len, room - len, p);
}

APART int v4_embedded_tc(struct __sk_buff *skb, __u32 at, __u32 room, struct packet *p)
{
	return p ? v4_embedded(skb, 0, at, room, p) : 1 + EMBEDDED;
}

APART int v4_embedded_xdp(struct xdp_md *xdp, __u32 at, __u32 room, struct packet *p)
{
	return p ? v4_embedded(xdp, 1, at, room, p) : 1 + EMBEDDED;
}

/* The IPv4 packet whose first 20 bytes are `header`. */
INLINE int v4(void *ctx, const int xdp, __u32 frame_len, const __u32 *header, struct packet *p)
{
	const __u8 *byte = (const __u8 *)header;
	__u32 len = (byte[0] & 0xf) * 4, total = byte[2] << 8 | byte[3];
	__u8 protocol = byte[9], kind[2] __attribute__((aligned(4)));
	__u32 at = p->l3 + len, room = total - len;

	if (byte[0] >> 4 != 4 || len < V4_LEN || total < len)
		return 1 + MALFORMED;
	if (p->l3 + total > frame_len)
		return 1 + TRUNCATED;
	p->flow.client[0] = header[3];
	p->id = byte[4] << 8 | byte[5];
	p->has_id = 1;
	if (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP) {
		p->protocol = protocol;
		if (!((byte[6] << 8 | byte[7]) & 0x3fff))
			return ports(ctx, xdp, at, room, p);
		p->what = PORTLESS;
		return 0;
	}
	if (protocol != IPPROTO_ICMP)
		return 0;
	if ((byte[6] << 8 | byte[7]) & 0x3fff) {
		p->what = ECHO;
		return 0;
	}
	if (room < ICMP_LEN || load(ctx, xdp, at, kind, 2))
		return 1 + TRUNCATED;
	switch (kind[0]) {
	case 8:
		p->what = ECHO;
		return 0;
	case 3:
	case 4:
	case 5:
	case 11:
	case 12:
		return xdp ? v4_embedded_xdp(ctx, at + ICMP_LEN, room - ICMP_LEN, p)
			   : v4_embedded_tc(ctx, at + ICMP_LEN, room - ICMP_LEN, p);
	default:
		return 0;
	}
}

/* As v4_embedded. */
INLINE int v6_embedded(void *ctx, const int xdp, __u32 at, __u32 room, struct packet *p)
{
	__u32 header[10];
	const __u8 *byte = (const __u8 *)header;
	struct upper upper;

	if (room < V6_LEN || load(ctx, xdp, at, header, V6_LEN))
		return 1 + EMBEDDED;
	if (byte[0] >> 4 != 6 || !same(header + 2, p->flow.vip, 1))
		return 1 + EMBEDDED;
	if (WALK(ctx, xdp, at, room, byte[6], &upper))
		return 1 + EMBEDDED;
	for (int i = 0; i < 4; i++)
		p->flow.client[i] = header[6 + i];
	if (upper.part == LATER || room < upper.at)
		room = upper.at;
	return embedded(ctx, xdp, upper.protocol, IPPROTO_ICMPV6, at + upper.at, room - upper.at, p);
}

APART int v6_embedded_tc(struct __sk_buff *skb, __u32 at, __u32 room, struct packet *p)
{
	return p ? v6_embedded(skb, 0, at, room, p) : 1 + EMBEDDED;
}

APART int v6_embedded_xdp(struct xdp_md *xdp, __u32 at, __u32 room, struct packet *p)
{
	return p ? v6_embedded(xdp, 1, at, room, p) : 1 + EMBEDDED;
}

/* What follows the headers of an IPv6 packet of `limit` bytes. */
INLINE int v6(void *ctx, const int xdp, const struct upper *upper, __u32 limit,
	      struct packet *p)
{
	__u32 at = p->l3 + upper->at, room = limit - upper->at;
	__u8 protocol = upper->protocol, kind[2] __attribute__((aligned(4)));

	if (limit < upper->at)
		return 1 + TRUNCATED;
	if (upper->part != WHOLE) {
		switch (protocol) {
		case IPPROTO_TCP:
		case IPPROTO_UDP:
			p->protocol = protocol;
			p->what = PORTLESS;
			return 0;
		case IPPROTO_ICMPV6:
			p->what = ECHO;
			return 0;
		case 0:
		case 43:
		case 44:
		case 51:
		case 60:
			return 1 + FRAGMENT;
		default:
			return 0;
		}
	}
	if (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP) {
		p->protocol = protocol;
		return ports(ctx, xdp, at, room, p);
	}
	if (protocol != IPPROTO_ICMPV6)
		return 0;
	if (room < ICMP_LEN || load(ctx, xdp, at, kind, 2))
		return 1 + TRUNCATED;
	if (kind[0] == 128)
		p->what = ECHO;
	else if (kind[0] >= 1 && kind[0] <= 4)
		return xdp ? v6_embedded_xdp(ctx, at + ICMP_LEN, room - ICMP_LEN, p)
			   : v6_embedded_tc(ctx, at + ICMP_LEN, room - ICMP_LEN, p);
	return 0;
}

/* The socket of this very 4-tuple, or whoever listens; released by the caller. */
INLINE struct bpf_sock *socket(void *ctx, const struct packet *p)
{
	struct bpf_sock_tuple tuple = {};
	__u32 size;

	if (p->v6) {
		for (int i = 0; i < 4; i++) {
			tuple.ipv6.saddr[i] = p->flow.client[i];
			tuple.ipv6.daddr[i] = p->flow.vip[i];
		}
		tuple.ipv6.sport = bpf_htons(p->flow.client_port);
		tuple.ipv6.dport = bpf_htons(p->flow.port);
		size = sizeof(tuple.ipv6);
		return bpf_skc_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
	}
	tuple.ipv4.saddr = p->flow.client[0];
	tuple.ipv4.daddr = p->flow.vip[0];
	tuple.ipv4.sport = bpf_htons(p->flow.client_port);
	tuple.ipv4.dport = bpf_htons(p->flow.port);
	size = sizeof(tuple.ipv4);
	return bpf_skc_lookup_tcp(ctx, &tuple, size, BPF_F_CURRENT_NETNS, 0);
}

/* Whether the ACK that ends a handshake answers a cookie of the listener's: the only trace of a
 * connection of which no memory is kept. */
INLINE int answers_cookie(void *ctx, const struct packet *p, struct bpf_sock *listener)
{
	__u32 ip[V6_LEN / 4], tcp[TCP_LEN / 4];

	if (p->embedded || !(p->flags & ACK) || load(ctx, 0, p->l4, tcp, TCP_LEN))
		return 0;
	if (p->v6) {
		if (load(ctx, 0, p->l3, ip, V6_LEN))
			return 0;
		return !bpf_tcp_check_syncookie(listener, ip, V6_LEN, (void *)tcp, TCP_LEN);
	}
	if (load(ctx, 0, p->l3, ip, V4_LEN))
		return 0;
	return !bpf_tcp_check_syncookie(listener, ip, V4_LEN, (void *)tcp, TCP_LEN);
}

/* F8: whether this node has a live socket for the packet. ESTABLISHED to LAST_ACK or a request
 * socket, never LISTEN or TIME_WAIT; or a valid SYN cookie, if it is the owner. */
INLINE int is_live(void *ctx, const struct packet *p, const int owner)
{
	struct bpf_sock *sk;
	int live;

	if (p->what != PORTS || bpf_map_lookup_elem(&released, &p->flow))
		return 0;
	sk = socket(ctx, p);
	if (!sk)
		return 0;
	switch (sk->state) {
	case BPF_TCP_ESTABLISHED:
	case BPF_TCP_SYN_RECV:
	case BPF_TCP_FIN_WAIT1:
	case BPF_TCP_FIN_WAIT2:
	case BPF_TCP_CLOSE_WAIT:
	case BPF_TCP_LAST_ACK:
	case BPF_TCP_CLOSING:
	case BPF_TCP_NEW_SYN_RECV:
		live = 1;
		break;
	case BPF_TCP_LISTEN:
		live = owner && answers_cookie(ctx, p, sk);
		break;
	default:
		live = 0;
	}
	bpf_sk_release(sk);
	return live;
}

/* Says that only sockets can tell, where none are asked. */
#define ASK 255

/* Whether this node takes a packet of this bucket: 0, or 1 and the reason. */
INLINE int judge(void *ctx, const int xdp, __u32 word, const struct config *config,
		 const struct packet *p)
{
	__u8 owner = word, me = config->me;
	__u8 last = word >> 8, before = word >> 16;
	int drains = (word & DRAIN) && p->protocol == IPPROTO_TCP;
	int others;

	if (owner == me) {
		if ((word & TAKE) && (!drains || p->syn)) {
			if (!xdp && p->syn && config->releases)
				bpf_map_delete_elem(&released, &p->flow);
			return 0;
		}
		if (drains && !p->syn) {
			if (xdp)
				return ASK;
			if (is_live(ctx, p, !!(word & TAKE)))
				return 0;
		}
		return 1 + (word & TAKE ? NO_SOCKET : NOT_YET);
	}
	others = 1 + (owner == NONE ? NOBODY : NOT_MINE);
	if (!drains || (last != me && before != me))
		return others;
	if (xdp)
		return ASK;
	if (!is_live(ctx, p, 0))
		return others;
	if (p->syn) {
		__u8 one = 1;
		bpf_map_update_elem(&released, &p->flow, &one, BPF_ANY);
		return 1 + RELEASED;
	}
	return 0;
}

APART int judge_tc(struct __sk_buff *skb, __u32 word, const struct config *config,
		   const struct packet *p)
{
	return p && config ? judge(skb, 0, word, config, p) : 1 + CLOSED;
}

/* The service, in bits 16.., and the bucket; or -1 and less the reason. */
INLINE int find(const struct config *config, const struct packet *p)
{
	const int unmapped = -1 - (p->embedded ? EMBEDDED : FRAGMENT);
	__u64 length = p->v6 ? 16 : 4, last = p->v6 ? 0 : p->flow.client[0];
	__u32 masked[4], i;
	const __u32 *address = p->flow.client;
	const struct rule *rule;
	int whole = p->v6;
	__u32 bucket;

	if (p->what == OTHER)
		return -1 - UNCOVERED;
	for (i = 0; i < RULES; i++) {
		if (i < p->first)
			continue;
		if (i >= config->rules)
			return -1 - UNCOVERED;
		rule = &config->rule[i];
		if (rule->v6 != p->v6 || !same(rule->vip, p->flow.vip, p->v6))
			continue;
		if (p->what == ECHO)
			break;
		if (rule->protocol != p->protocol)
			continue;
		if (p->what == PORTLESS)
			break;
		if (rule->first <= p->flow.port && p->flow.port <= rule->last)
			break;
	}
	if (i >= RULES)
		return -1 - UNCOVERED;
	rule = &config->rule[i];
	if (p->what != ECHO) {
		switch (rule->on) {
		case ON_ADDR_PORT:
			if (p->what == PORTS) {
				last |= (__u64)bpf_htons(p->flow.client_port) << (p->v6 ? 0 : 32);
				length += 2;
			} else if (p->embedded || p->protocol == IPPROTO_TCP) {
				return unmapped;
			}
			break;
		case ON_NET:
			for (int j = 0; j < 4; j++)
				masked[j] = p->flow.client[j] & rule->mask[j];
			address = masked;
			if (!p->v6)
				last = masked[0];
			break;
		case ON_IPID:
			if (p->has_id) {
				last = bpf_htons(p->id);
				length = 2;
				whole = 0;
			} else if (!p->v6) {
				return unmapped;
			}
			break;
		default:
			break;
		}
	}
	last |= length << 56;
	bucket = whole ? siphash(config, address, last) : siphash(config, 0, last);
	return i << 16 | (bucket & rule->buckets_mask & (BUCKETS - 1));
}

APART int find_place(const struct packet *p, const struct config *config)
{
	return config && p ? find(config, p) : -1 - CLOSED;
}

/* Six bytes of the wire as a number. */
INLINE long mac_at(void *ctx, const int xdp, __u32 at, __u64 *mac)
{
	__u16 raw[4] __attribute__((aligned(8))) = {};

	if (load(ctx, xdp, at, raw, 6))
		return -1;
	*mac = raw[0] | (__u64)raw[1] << 16 | (__u64)raw[2] << 32;
	return 0;
}

INLINE void trace(void *ctx, const int xdp, __u32 verdict, __u32 place, __u32 to, __u32 accept)
{
	struct __sk_buff *skb = ctx;

	if (xdp || !TRACE)
		return;
	skb->cb[0] = verdict;
	skb->cb[1] = place;
	skb->cb[2] = to;
	skb->cb[3] = accept;
}

#define NOWHERE 0xffffffff
#define TRACE_PASS 0
#define TRACE_NEIGHBOUR 1
#define TRACE_ACCEPT 2
#define TRACE_FORWARD 3
#define TRACE_DROP 16

INLINE int pass(void *ctx, const int xdp)
{
	if (xdp)
		return XDP_PASS;
	count(PASSED);
	trace(ctx, xdp, TRACE_PASS, NOWHERE, 0, 0);
	return TC_ACT_UNSPEC;
}

INLINE int neighbour(void *ctx, const int xdp)
{
	if (xdp)
		return XDP_PASS;
	count(NEIGHBOUR);
	trace(ctx, xdp, TRACE_NEIGHBOUR, NOWHERE, 0, 0);
	return TC_ACT_SHOT;
}

INLINE int drop(void *ctx, const int xdp, __u32 reason, __u32 place)
{
	count(reason);
	trace(ctx, xdp, TRACE_DROP + reason, place, 0, 0);
	return xdp ? XDP_DROP : TC_ACT_SHOT;
}

INLINE int accept(struct __sk_buff *skb, __u32 place)
{
	count(ACCEPTED_OF + (place >> 16));
	trace(skb, 0, TRACE_ACCEPT, place, 0, 1);
	if (skb->pkt_type == PACKET_OTHERHOST)
		bpf_skb_change_type(skb, PACKET_HOST);
	return TC_ACT_OK;
}

/* Both MACs of the frame: from us, to that node. */
INLINE long address_to(struct __sk_buff *skb, const struct config *config, __u8 node)
{
	__u64 to = config->macs[node & (NODES - 1)];
	__u16 both[6] __attribute__((aligned(4))) = {
		to, to >> 16, to >> 32,
		config->mac, config->mac >> 16, config->mac >> 32,
	};

	return bpf_skb_store_bytes(skb, 0, both, sizeof(both), 0);
}

/* F9: a client's frame goes to the owner, and while the bucket drains to the previous owners. */
APART int hand_on(struct __sk_buff *skb, __u32 word, int not_mine, __u32 place,
		  const struct config *config)
{
	__u32 to = 0, n = 0, interface = skb->ifindex;
	__u16 was[6] __attribute__((aligned(4)));

	if (!config || load(skb, 0, 0, was, sizeof(was)))
		return drop(skb, 0, TRUNCATED, place);
	for (int i = 0; i < 3; i++) {
		__u32 node = word >> (8 * i) & 0xff;
		if (node == NONE || node == config->me || (i && !(word & DRAIN)))
			continue;
		to |= node << (8 * n);
		n++;
	}
	if (!n)
		return not_mine ? drop(skb, 0, not_mine - 1, place) : accept(skb, place);
	trace(skb, 0, TRACE_FORWARD, place, n << 24 | to, !not_mine);
	for (__u32 i = 0; i < 3; i++) {
		if (i >= n)
			break;
		count(FORWARDED_OF + (place >> 16));
		if (address_to(skb, config, to >> (8 * i)))
			return TC_ACT_SHOT;
		if (TRACE)
			continue;
		if (i == n - 1 && not_mine)
			return bpf_redirect(interface, 0);
		bpf_clone_redirect(skb, interface, 0);
	}
	if (TRACE)
		return TC_ACT_REDIRECT;
	bpf_skb_store_bytes(skb, 0, was, sizeof(was), 0);
	return accept(skb, place);
}

/* As judge, of a bucket that does not drain. */
INLINE int settled(__u32 word, const struct config *config)
{
	__u8 owner = word;

	if (owner == config->me)
		return word & TAKE ? 0 : 1 + NOT_YET;
	return 1 + (owner == NONE ? NOBODY : NOT_MINE);
}

/* A packet to a VIP of ours, from where `ha_farm::Filter::to_vip` has parsed it. */
INLINE int decide(void *ctx, const int xdp, const struct packet *p, __u32 slots,
		  const struct config *config)
{
	int place = find_place(p, config), why;
	__u32 at, word;
	struct words *table;

	if (place == -1 - UNCOVERED && config->uncovered_pass)
		return pass(ctx, xdp);
	if (place < 0)
		return drop(ctx, xdp, -1 - place, NOWHERE);
	at = (slots & 1) * RULES + (place >> 16);
	table = bpf_map_lookup_elem(&words, &at);
	if (!table)
		return drop(ctx, xdp, CLOSED, NOWHERE);
	word = table->of[place & (BUCKETS - 1)];
	if (!(word & DRAIN) && !(p->syn && config->releases))
		why = settled(word, config);
	else if (xdp)
		why = judge(ctx, 1, word, config, p);
	else
		why = judge_tc(ctx, word, config, p);
	if (xdp && (!why || why == ASK))
		return XDP_PASS;
	if (config->directed) {
		__u64 from = 0;
		if (mac_at(ctx, xdp, 6, &from))
			return drop(ctx, xdp, TRUNCATED, NOWHERE);
		from |= (__u64)(slots & 1) << 48;
		if (!bpf_map_lookup_elem(&members, &from)) {
			if (xdp)
				return XDP_PASS;
			if ((word & 0xff) != NONE)
				count(OWNED_BY + (place >> 16) * NODES + (word & (NODES - 1)));
			return hand_on(ctx, word, why, place, config);
		}
	}
	if ((word & 0xff) != NONE)
		count(OWNED_BY + (place >> 16) * NODES + (word & (NODES - 1)));
	return why ? drop(ctx, xdp, why - 1, place) : accept(ctx, place);
}

/* F5 and, in mode directed, whose frame it is: 0, or 1 and the reason. */
INLINE int shut(void *ctx, const int xdp, __u32 slots, const struct config *config)
{
	__u32 which = slots >> 1 & 1;
	__u64 *until = bpf_map_lookup_elem(&lease, &which);

	if (!until || bpf_ktime_get_boot_ns() >= *until)
		return 1 + CLOSED;
	if (config->directed) {
		__u64 to = 0;
		if (mac_at(ctx, xdp, 0, &to) || to != config->mac)
			return 1 + ELSEWHERE;
	}
	return 0;
}

INLINE int on_arp(void *ctx, const int xdp, __u32 l3, const struct config *config)
{
	__u32 header[7];
	const __u16 *half = (const __u16 *)header;

	if (load(ctx, xdp, l3, header, 28))
		return pass(ctx, xdp);
	if (header[0] != bpf_htonl(0x00010800) || half[2] != bpf_htons(0x0604))
		return pass(ctx, xdp);
	return first_v4(header[6], config) < RULES ? neighbour(ctx, xdp) : pass(ctx, xdp);
}

INLINE int on_v4(void *ctx, const int xdp, __u32 l3, __u32 slots, __u32 len,
		 const struct config *config)
{
	struct packet p = { .l3 = l3 };
	__u32 header[5], first;
	int why;

	if (load(ctx, xdp, l3, header, V4_LEN))
		return pass(ctx, xdp);
	first = first_v4(header[4], config);
	if (first >= RULES)
		return pass(ctx, xdp);
	p.first = first;
	p.flow.vip[0] = header[4];
	why = shut(ctx, xdp, slots, config);
	if (!why)
		why = v4(ctx, xdp, len, header, &p);
	if (why)
		return drop(ctx, xdp, why - 1, NOWHERE);
	return decide(ctx, xdp, &p, slots, config);
}

/* Whether it is neighbor discovery about a VIP. */
INLINE int is_neighbour(void *ctx, const int xdp, __u32 l3, const struct upper *upper,
			__u32 limit, const struct config *config)
{
	struct address target;
	__u8 kind[2] __attribute__((aligned(4)));

	if (upper->protocol != IPPROTO_ICMPV6 || upper->part != WHOLE || upper->at + 24 > limit)
		return 0;
	if (load(ctx, xdp, l3 + upper->at, kind, 2) || (kind[0] != 135 && kind[0] != 136))
		return 0;
	if (load(ctx, xdp, l3 + upper->at + 8, &target, 16))
		return 0;
	return first_v6(&target, config) < RULES;
}

INLINE int on_v6(void *ctx, const int xdp, __u32 l3, __u32 slots, __u32 len,
		 const struct config *config)
{
	struct packet p = { .l3 = l3, .v6 = 1 };
	struct upper upper = { .at = V6_LEN };
	__u32 header[2], limit, first;
	const __u8 *byte = (const __u8 *)header;
	int why, closed;

	/* Both addresses lie in the packet as they lie in a flow. */
	if (load(ctx, xdp, l3 + 8, &p.flow, 32) || load(ctx, xdp, l3, header, 8))
		return pass(ctx, xdp);
	first = first_v6((const struct address *)p.flow.vip, config);
	upper.protocol = byte[6];
	limit = V6_LEN + (byte[4] << 8 | byte[5]);
	if (byte[0] >> 4 != 6)
		why = 1 + MALFORMED;
	else if (l3 + limit > len)
		why = 1 + TRUNCATED;
	else if (byte[6] == IPPROTO_TCP || byte[6] == IPPROTO_UDP)
		why = 0;
	else
		why = WALK(ctx, xdp, l3, limit, byte[6], &upper);
	if (!why && is_neighbour(ctx, xdp, l3, &upper, limit, config))
		return neighbour(ctx, xdp);
	if (first >= RULES)
		return pass(ctx, xdp);
	closed = shut(ctx, xdp, slots, config);
	if (closed)
		return drop(ctx, xdp, closed - 1, NOWHERE);
	p.first = first;
	if (!why)
		why = v6(ctx, xdp, &upper, limit, &p);
	if (why)
		return drop(ctx, xdp, why - 1, NOWHERE);
	return decide(ctx, xdp, &p, slots, config);
}

APART int on_v4_tc(struct __sk_buff *skb, __u32 l3, __u32 slots, const struct config *config)
{
	return config ? on_v4(skb, 0, l3, slots, skb->len, config) : TC_ACT_UNSPEC;
}

APART int on_v6_tc(struct __sk_buff *skb, __u32 l3, __u32 slots, const struct config *config)
{
	return config ? on_v6(skb, 0, l3, slots, skb->len, config) : TC_ACT_UNSPEC;
}

APART int on_v4_xdp(struct xdp_md *xdp, __u32 l3, __u32 slots, const struct config *config)
{
	return config ? on_v4(xdp, 1, l3, slots, bpf_xdp_get_buff_len(xdp), config) : XDP_PASS;
}

APART int on_v6_xdp(struct xdp_md *xdp, __u32 l3, __u32 slots, const struct config *config)
{
	return config ? on_v6(xdp, 1, l3, slots, bpf_xdp_get_buff_len(xdp), config) : XDP_PASS;
}

/* `tags` that the kernel or the card took off the frame already. */
INLINE int examine(void *ctx, const int xdp, int tags)
{
	__u32 at = 12, zero = 0;
	__u32 *now = bpf_map_lookup_elem(&active, &zero);
	__u32 slots = now ? *now : 0;
	const struct config *config = config_of(slots);

	for (; tags <= TAGS_MAX; tags++) {
		__u16 kind[2] __attribute__((aligned(4)));
		if (load(ctx, xdp, at, kind, 2))
			break;
		switch (kind[0]) {
		case bpf_htons(0x0800):
			return xdp ? on_v4_xdp(ctx, at + 2, slots, config)
				   : on_v4_tc(ctx, at + 2, slots, config);
		case bpf_htons(0x86dd):
			return xdp ? on_v6_xdp(ctx, at + 2, slots, config)
				   : on_v6_tc(ctx, at + 2, slots, config);
		case bpf_htons(0x0806):
			return on_arp(ctx, xdp, at + 2, config);
		case bpf_htons(0x8100):
		case bpf_htons(0x88a8):
			at += 4;
			break;
		default:
			return pass(ctx, xdp);
		}
	}
	return pass(ctx, xdp);
}

SEC("classifier")
int ha_farm_tc(struct __sk_buff *skb)
{
	return examine(skb, 0, skb->vlan_present ? 1 : 0);
}

SEC("xdp.frags")
int ha_farm_xdp(struct xdp_md *xdp)
{
	return examine(xdp, 1, 0);
}

/* What a program costs that does nothing: for measuring. */
SEC("classifier")
int ha_farm_tc_empty(struct __sk_buff *skb)
{
	return TC_ACT_UNSPEC;
}

SEC("xdp.frags")
int ha_farm_xdp_empty(struct xdp_md *xdp)
{
	return XDP_DROP;
}

/* What hands frames to what comes behind XDP: for measuring that. */
SEC("xdp.frags")
int ha_farm_xdp_pass(struct xdp_md *xdp)
{
	return XDP_PASS;
}

/* To which interface a generator sends its frames. */
const volatile __u32 TARGET = 0;

/* A generator of frames: for measuring. */
SEC("xdp.frags")
int ha_farm_xdp_send(struct xdp_md *xdp)
{
	return bpf_redirect(TARGET, 0);
}

/* What the kernel must read to let a program look at clocks; MIT allows it. */
char LICENSE[] SEC("license") = "Dual MIT/GPL";
