/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Whose connection a packet is (F8). */
#ifndef HA_FARM_SOCKETS_H
#define HA_FARM_SOCKETS_H

#include "parse.h"

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

#endif
