/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The maps, counting, and reading of frames. */
#ifndef HA_FARM_MAPS_H
#define HA_FARM_MAPS_H

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

struct counters {
	__u64 of[COUNTERS];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct counters);
} counters SEC(".maps");

/* Tests set it: the decision then lies in the packet's control block, and nothing is handed on.
 * Otherwise the verifier removes all of that. */
const volatile __u32 TRACE = 0;

INLINE void count(__u32 which)
{
	__u32 zero = 0;
	struct counters *all = bpf_map_lookup_elem(&counters, &zero);

	/* The compiler, which knows more than the verifier, would compare something else. */
	asm volatile("" : "+r"(which));
	if (all && which < COUNTERS)
		all->of[which]++;
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

#endif
