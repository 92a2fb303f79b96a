/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Of which service and bucket a packet is. */
#ifndef HA_FARM_BUCKET_H
#define HA_FARM_BUCKET_H

#include "parse.h"

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
INLINE __u32 siphash(const struct config *config, int v6, __u64 low, __u64 high, __u64 last)
{
	__u64 v0 = config->sip[0], v1 = config->sip[1];
	__u64 v2 = config->sip[2], v3 = config->sip[3];

	if (v6) {
		ABSORB(low);
		ABSORB(high);
	}
	ABSORB(last);
	v2 ^= 0xff;
	ROUND;
	ROUND;
	ROUND;
	ROUND;
	return (__u32)(v0 ^ v1 ^ v2 ^ v3);
}

/* The bucket of a client by its address, of IPv4 only in `low`; `port` and `id` as they are on the
 * wire. */
INLINE __u32 bucket_of(const struct config *config, const struct rule *rule, __u8 on, int v6,
		       __u64 low, __u64 high, __u16 port, __u16 id)
{
	__u64 length = v6 ? 16 : 4, last = v6 ? 0 : low;
	__u32 hash;

	switch (on) {
	case ON_ADDR_PORT:
		last |= (__u64)port << (v6 ? 0 : 32);
		length += 2;
		break;
	case ON_NET:
		low &= rule->mask[0];
		high &= rule->mask[1];
		if (!v6)
			last = low;
		break;
	case ON_IPID:
		if (!v6) {
			last = id;
			length = 2;
		}
		break;
	default:
		break;
	}
	hash = siphash(config, v6, low, high, last | length << 56);
	return hash & rule->buckets_mask & (BUCKETS - 1);
}

/* The service, in bits 16.., and the bucket; or -1 and less the reason. */
INLINE int find(const struct config *config, const struct packet *p)
{
	const int unmapped = -1 - (p->embedded ? EMBEDDED : FRAGMENT);
	__u64 low = LOW(p->flow.client), high = HIGH(p->flow.client);
	__u64 vip_low = LOW(p->flow.vip), vip_high = HIGH(p->flow.vip);
	const struct rule *rule;
	__u8 on = ON_ADDR;
	__u32 i;

	if (p->what == OTHER)
		return -1 - UNCOVERED;
	for (i = 0; i < RULES; i++) {
		if (i < p->first)
			continue;
		if (i >= config->rules)
			return -1 - UNCOVERED;
		rule = &config->rule[i];
		if (!is_vip(rule, vip_low, vip_high, p->v6))
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
		on = rule->on;
		if (on == ON_ADDR_PORT && p->what != PORTS) {
			if (p->embedded || p->protocol == IPPROTO_TCP)
				return unmapped;
			on = ON_ADDR;
		}
		if (on == ON_IPID && !p->has_id && !p->v6)
			return unmapped;
	}
	return i << 16 | bucket_of(config, rule, on, p->v6, low, high,
				   bpf_htons(p->flow.client_port), bpf_htons(p->id));
}

APART int find_place(const struct packet *p, const struct config *config)
{
	return config && p ? find(config, p) : -1 - CLOSED;
}

#endif
