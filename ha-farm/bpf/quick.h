/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The frames that most are, once more and with nothing else on their way: what they are and what
 * becomes of them is as for all. */
#ifndef HA_FARM_QUICK_H
#define HA_FARM_QUICK_H

#include "decide.h"

/* What is wanted of the header of TCP, or of UDP's longer one. */
struct head {
	__u16 client_port;
	__u16 port;
	__u8 rest[8];
	__u8 offset;
	__u8 flags;
};

/* Not a verdict: the frame is one of the others. */
#define RARE (-2)

/* A whole packet of TCP or UDP to a service, whose bucket does not drain. */
INLINE int quick(void *ctx, const int xdp, __u32 slots, const struct config *config,
		 const int v6, __u64 low, __u64 high, __u64 vip_low, __u64 vip_high,
		 __u8 protocol, const struct head *head, __u16 id)
{
	__u32 client_port = head->client_port, port = bpf_ntohs(head->port);
	int syn = protocol == IPPROTO_TCP && (head->flags & 0x12) == 0x02;
	const struct rule *rule;
	__u32 i, at, place, word;
	int seen = 0, why;
	struct words *table;

	for (i = 0; i < RULES; i++) {
		if (i >= config->rules)
			return seen ? RARE : pass(ctx, xdp);
		rule = &config->rule[i];
		if (!is_vip(rule, vip_low, vip_high, v6))
			continue;
		if (rule->protocol == protocol && rule->first <= port && port <= rule->last)
			break;
		seen = 1;
	}
	if (i >= RULES)
		return RARE;
	why = shut(ctx, xdp, slots, config);
	if (why)
		return drop(ctx, xdp, why - 1, NOWHERE);
	at = (slots & 1) * RULES + i;
	table = bpf_map_lookup_elem(&words, &at);
	if (!table)
		return RARE;
	place = bucket_of(config, rule, rule->on, v6, low, high, client_port, id);
	word = table->of[place];
	if ((word & DRAIN) || (syn && config->releases))
		return RARE;
	return end(ctx, xdp, slots, config, word, i << 16 | place, settled(word, config));
}

/* Most frames: Ethernet without tags, IP without options, a whole packet of TCP or UDP. */
INLINE int usual(void *ctx, const int xdp, __u32 slots, const struct config *config,
		 const __u8 *from, const __u8 *end)
{
	const __u8 *ip = from + ETH;
	__u32 len = end - from, whole, need, kind;

	if (ip + V4_LEN + TCP_LEN > end)
		return RARE;
	kind = *(const __u16 *)(from + 12);
	if (kind == bpf_htons(0x0800)) {
		whole = bpf_ntohs(*(const __u16 *)(ip + 2));
		need = V4_LEN + (ip[9] == IPPROTO_TCP ? TCP_LEN : UDP_LEN);
		if (ip[0] != 0x45 || (*(const __u16 *)(ip + 6) & bpf_htons(0x3fff)) ||
		    (ip[9] != IPPROTO_TCP && ip[9] != IPPROTO_UDP) || whole < need ||
		    ETH + whole > len)
			return RARE;
		return quick(ctx, xdp, slots, config, 0, *(const __u32 *)(ip + 12), 0,
			     *(const __u32 *)(ip + 16), 0, ip[9],
			     (const struct head *)(ip + V4_LEN), *(const __u16 *)(ip + 4));
	}
	if (kind != bpf_htons(0x86dd) || ip + V6_LEN + sizeof(struct head) > end)
		return RARE;
	whole = V6_LEN + bpf_ntohs(*(const __u16 *)(ip + 4));
	need = V6_LEN + (ip[6] == IPPROTO_TCP ? TCP_LEN : UDP_LEN);
	if (ip[0] >> 4 != 6 || (ip[6] != IPPROTO_TCP && ip[6] != IPPROTO_UDP) || whole < need ||
	    ETH + whole > len)
		return RARE;
	return quick(ctx, xdp, slots, config, 1, *(const __u64 *)(ip + 8),
		     *(const __u64 *)(ip + 16), *(const __u64 *)(ip + 24),
		     *(const __u64 *)(ip + 32), ip[6], (const struct head *)(ip + V6_LEN), 0);
}

#endif
