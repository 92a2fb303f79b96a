/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Who takes a packet, and what becomes of it: `ha_farm::decide`. */
#ifndef HA_FARM_DECIDE_H
#define HA_FARM_DECIDE_H

#include "bucket.h"
#include "sockets.h"

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

/* What becomes of a packet about which that is the judgement: 0, or 1 and the reason. */
INLINE int end(void *ctx, const int xdp, __u32 slots, const struct config *config, __u32 word,
	       __u32 place, int why)
{
	__u32 owned = OWNED_BY + (place >> 16 & (RULES - 1)) * NODES + (word & (NODES - 1));

	if (xdp && !why)
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
				count(owned);
			return hand_on(ctx, word, why, place, config);
		}
	}
	if ((word & 0xff) != NONE)
		count(owned);
	return why ? drop(ctx, xdp, why - 1, place) : accept(ctx, place);
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
	if (xdp && why == ASK)
		return XDP_PASS;
	return end(ctx, xdp, slots, config, word, place, why);
}

/* F5 and, in mode directed, whose frame it is: 0, or 1 and the reason. XDP takes nothing, so it
 * has no need of the time, which costs as much as all else. */
INLINE int shut(void *ctx, const int xdp, __u32 slots, const struct config *config)
{
	if (!xdp) {
		__u32 which = slots >> 1 & 1;
		__u64 *until = bpf_map_lookup_elem(&lease, &which);
		if (!until || bpf_ktime_get_boot_ns() >= *until)
			return 1 + CLOSED;
	}
	if (config->directed) {
		__u64 to = 0;
		if (mac_at(ctx, xdp, 0, &to) || to != config->mac)
			return 1 + ELSEWHERE;
	}
	return 0;
}

#endif
