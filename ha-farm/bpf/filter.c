// SPDX-License-Identifier: MIT OR Apache-2.0
/* Who takes a packet, in the kernel: what `ha_farm::Filter::examine` says, in the same order and
 * under the same names. Each of the two is tested against the other with the same frames.
 *
 * `ha_farm_tc` decides at ingress of an interface. `ha_farm_xdp` comes first where the driver has
 * XDP, and drops what the other one would drop while the lease runs, without asking for a socket;
 * all else it lets go on: XDP cannot make a packet to a virtual MAC this host's.
 *
 * maps.h, what both read and count; parse.h, what a packet is; bucket.h, whose it is; sockets.h,
 * what the kernel knows of its connection; decide.h, what becomes of it; quick.h, all of that for
 * the frames that most are.
 */
#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "quick.h"

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
	__u32 target[4];
	__u8 kind[2] __attribute__((aligned(4)));

	if (upper->protocol != IPPROTO_ICMPV6 || upper->part != WHOLE || upper->at + 24 > limit)
		return 0;
	if (load(ctx, xdp, l3 + upper->at, kind, 2) || (kind[0] != 135 && kind[0] != 136))
		return 0;
	if (load(ctx, xdp, l3 + upper->at + 8, target, 16))
		return 0;
	return first_v6(LOW(target), HIGH(target), config) < RULES;
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
	first = first_v6(LOW(p.flow.vip), HIGH(p.flow.vip), config);
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

INLINE int examine(void *ctx, const int xdp, const void *from, const void *end)
{
	__u32 at = 12, zero = 0;
	__u32 *now = bpf_map_lookup_elem(&active, &zero);
	__u32 slots = now ? *now : 0;
	const struct config *config = config_of(slots);
	int done, tags = 0;

	if (!config)
		return xdp ? XDP_PASS : TC_ACT_UNSPEC;
	done = usual(ctx, xdp, slots, config, from, end);
	if (done != RARE)
		return done;
	/* The kernel or the card may have taken one off the frame already. */
	if (!xdp && ((struct __sk_buff *)ctx)->vlan_present)
		tags = 1;
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
	return examine(skb, 0, (void *)(long)skb->data, (void *)(long)skb->data_end);
}

SEC("xdp.frags")
int ha_farm_xdp(struct xdp_md *xdp)
{
	return examine(xdp, 1, (void *)(long)xdp->data, (void *)(long)xdp->data_end);
}

/* What a program costs that does nothing: for measuring. */
SEC("classifier")
int ha_farm_tc_empty(struct __sk_buff *skb)
{
	return TC_ACT_UNSPEC;
}

/* What it costs to ask for the time, which whoever takes a packet must know (F5): for measuring. */
SEC("classifier")
int ha_farm_tc_clock(struct __sk_buff *skb)
{
	return bpf_ktime_get_boot_ns() ? TC_ACT_UNSPEC : TC_ACT_OK;
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
