/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What a packet to a VIP is: `ha_farm::packet`. */
#ifndef HA_FARM_PARSE_H
#define HA_FARM_PARSE_H

#include "maps.h"

enum what { OTHER, PORTS, PORTLESS, ECHO };
enum part { WHOLE, FIRST, LATER };


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

/* Four words of an address as the two that a rule has. */
#define LOW(address) ((address)[0] | (__u64)(address)[1] << 32)
#define HIGH(address) ((address)[2] | (__u64)(address)[3] << 32)

INLINE int is_vip(const struct rule *rule, __u64 low, __u64 high, int v6)
{
	return rule->v6 == v6 && rule->vip[0] == low && (!v6 || rule->vip[1] == high);
}

INLINE const struct config *config_of(__u32 slots)
{
	__u32 slot = slots & 1;

	return bpf_map_lookup_elem(&config, &slot);
}

/* The first rule with this VIP, or RULES. */
INLINE __u32 first_of(const struct config *config, __u64 low, __u64 high, int v6)
{
	for (__u32 i = 0; i < RULES; i++) {
		if (i >= config->rules)
			break;
		if (is_vip(&config->rule[i], low, high, v6))
			return i;
	}
	return RULES;
}

APART __u32 first_v4(__u32 vip, const struct config *config)
{
	return config ? first_of(config, vip, 0, 0) : RULES;
}

APART __u32 first_v6(__u64 low, __u64 high, const struct config *config)
{
	return config ? first_of(config, low, high, 1) : RULES;
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
	if (byte[0] >> 4 != 6 || LOW(header + 2) != LOW(p->flow.vip) ||
	    HIGH(header + 2) != HIGH(p->flow.vip))
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

#endif
