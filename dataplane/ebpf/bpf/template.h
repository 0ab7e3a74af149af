/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Templates of persistent services: klvs_template of abi.h says what they are. template_find and
 * template_make choose for a new connection, template_hold and template_release count the
 * connections that one controls.
 */
#pragma once

#include "dataplane/ebpf/bpf/packet.h"
#include "dataplane/ebpf/bpf/state.h"

#define TEMPLATE_TRIES 8
/* One that is not given back is in control for ever; each try that is lost is another CPU's gain. */
#define TEMPLATE_RELEASE_TRIES 64
#define TEMPLATE_MOST_CONTROLLED 0xffffff

/* A choice is a template's word without its count; without generation, nobody remembers it. */
#define TEMPLATE_CHOICE(word) ((word) & ~(__u64)TEMPLATE_MOST_CONTROLLED)

static __always_inline __u64 template_word(__u32 real, __u32 generation)
{
	return (__u64)real << 32 | (__u64)(generation & 255) << 24;
}

/* The mask of 32 bits of an address of which `bits` or more, or less than none, are the prefix's.
 * Without branches, of which the verifier would walk 3^4 paths. */
static __always_inline __be32 mask_word(__s64 bits)
{
	__s64 sign = bits, over;

	asm volatile("%0 s>>= 63" : "+r"(sign));
	bits &= ~sign;
	over = bits - 32;
	sign = over;
	asm volatile("%0 s>>= 63" : "+r"(sign));
	bits -= over & ~sign;
	return bpf_htonl((__u32)~(0xffffffffULL >> bits));
}

static __always_inline void template_key_set(struct klvs_template_key *key, __u32 service,
					     const klvs_addr *client, __u32 prefix)
{
	key->service = service;
#ifdef KLVS_IPV6
	key->client.word[0] = client->word[0] & mask_word(prefix);
	key->client.word[1] = client->word[1] & mask_word((__s64)prefix - 32);
	key->client.word[2] = client->word[2] & mask_word((__s64)prefix - 64);
	key->client.word[3] = client->word[3] & mask_word((__s64)prefix - 96);
#else
	key->client = *client & mask_word(prefix);
#endif
}

static __always_inline void template_count(__u32 real, __u32 change)
{
	klvs_template_count *count = bpf_map_lookup_elem(&klvs_real_templates, &real);

	if (count)
		__sync_fetch_and_add(count, change);
}

/* Whether the real server of a template with this word takes its clients. */
static __always_inline int template_is_valid(__u64 word, __u32 service,
					     const struct klvs_settings *settings)
{
	__u32 id = KLVS_TEMPLATE_REAL(word);
	struct klvs_real *real = bpf_map_lookup_elem(&klvs_reals, &id);

	if (!id || !real || real->service != service ||
	    (real->flags & (KLVS_REAL_VALID | KLVS_REAL_REMOVED)) != KLVS_REAL_VALID)
		return 0;
	return !(settings->flags & KLVS_SETTING_EXPIRE_QUIESCENT) || real->weight;
}

static __always_inline int template_is_over(__u64 word, __u64 expires, __u64 now)
{
	return now > expires && !KLVS_TEMPLATE_CONTROLLED(word);
}

/* Once found invalid it stays so, whatever comes of its real server: it names none. */
static __always_inline void template_invalidate(struct klvs_template *t, __u64 word)
{
	__u64 next = template_word(0, KLVS_TEMPLATE_GENERATION(word));
	__u32 id = KLVS_TEMPLATE_REAL(word);

	if (id && __sync_val_compare_and_swap(&t->word, word, next) == word)
		template_count(id, -1);
}

/* The choice of the client's template, which is renewed; 0 if none holds. */
__noinline __u64 template_find(struct packet *p, __u32 service, __u32 prefix)
{
	struct klvs_settings *settings = settings_get();
	struct klvs_template_key key;
	struct klvs_template *t;
	__u64 word, expires;

	if (!p || !settings)
		return 0;
	template_key_set(&key, service, &p->key.src, prefix);
	t = bpf_map_lookup_elem(&klvs_templates, &key);
	if (!t)
		return 0;
	word = READ_ONCE(t->word);
	expires = READ_ONCE(t->expires);
	if (!template_is_valid(word, service, settings)) {
		template_invalidate(t, word);
		return 0;
	}
	if (template_is_over(word, expires, p->now))
		return 0;
	if (p->now > expires)
		WRITE_ONCE(t->timeout, settings->hz * KLVS_TEMPLATE_AGAIN_SECONDS);
	WRITE_ONCE(t->expires, p->now + READ_ONCE(t->timeout));
	return TEMPLATE_CHOICE(word);
}

/*
 * Remembers that the client's connections go to `real`. Returns the choice: another one if another
 * CPU was faster, and one without generation if there is no room.
 */
__noinline __u64 template_make(struct packet *p, __u32 service, __u32 prefix, __u32 seconds,
			       __u32 real)
{
	struct klvs_settings *settings = settings_get();
	struct klvs_template new = {.word = template_word(real, 1)};
	struct klvs_template_key key;
	struct klvs_template *t;
	__u64 word, next;
	__u32 generation;

	if (!p || !settings)
		return template_word(real, 0);
	template_key_set(&key, service, &p->key.src, prefix);
	new.timeout = seconds * settings->hz;
	new.expires = p->now + new.timeout;
	t = bpf_map_lookup_elem(&klvs_templates, &key);
	if (!t) {
		if (!bpf_map_update_elem(&klvs_templates, &key, &new, BPF_NOEXIST)) {
			template_count(real, 1);
			return new.word;
		}
		t = bpf_map_lookup_elem(&klvs_templates, &key);
		if (!t)
			return template_word(real, 0);
	}
	word = READ_ONCE(t->word);
	if (template_is_valid(word, service, settings) &&
	    !template_is_over(word, READ_ONCE(t->expires), p->now))
		return TEMPLATE_CHOICE(word);
	/* klvs_sweep deletes it. */
	if (!word)
		return template_word(real, 0);
	generation = KLVS_TEMPLATE_GENERATION(word) + 1;
	next = template_word(real, generation > 255 ? 1 : generation);
	/* First: who sees the new word must not see it over. */
	WRITE_ONCE(t->timeout, new.timeout);
	WRITE_ONCE(t->expires, new.expires);
	if (__sync_val_compare_and_swap(&t->word, word, next) != word) {
		word = READ_ONCE(t->word);
		return KLVS_TEMPLATE_REAL(word) ? TEMPLATE_CHOICE(word) : template_word(real, 0);
	}
	if (KLVS_TEMPLATE_REAL(word))
		template_count(KLVS_TEMPLATE_REAL(word), -1);
	template_count(real, 1);
	return next;
}

/* Has the template of this choice control one connection more; 0 if it is another one by now. */
__noinline int template_hold(struct packet *p, __u32 service, __u32 prefix, __u64 choice)
{
	struct klvs_template_key key;
	struct klvs_template *t;
	__u32 i;

	if (!p || !KLVS_TEMPLATE_GENERATION(choice))
		return 0;
	template_key_set(&key, service, &p->key.src, prefix);
	t = bpf_map_lookup_elem(&klvs_templates, &key);
	if (!t)
		return 0;
	for (i = 0; i < TEMPLATE_TRIES; i++) {
		__u64 word = READ_ONCE(t->word);

		if (TEMPLATE_CHOICE(word) != choice ||
		    KLVS_TEMPLATE_CONTROLLED(word) == TEMPLATE_MOST_CONTROLLED)
			return 0;
		if (__sync_val_compare_and_swap(&t->word, word, word + 1) == word)
			return 1;
	}
	return 0;
}

/* The CONTROLLED connection `c` is no more. */
__noinline int template_release(struct klvs_conn *c)
{
	struct klvs_settings *settings = settings_get();
	__u64 end = bpf_jiffies64(), again, choice;
	struct klvs_template_key key;
	struct klvs_template *t;
	__u32 i;

	if (!c || !settings)
		return 0;
	template_key_set(&key, c->service, &c->key.src, c->template_prefix);
	t = bpf_map_lookup_elem(&klvs_templates, &key);
	if (!t)
		return 0;
	choice = template_word(c->real, c->template_generation);
	again = (__u64)settings->hz * KLVS_TEMPLATE_AGAIN_SECONDS;
	/* It may have expired long ago. */
	if (c->expires < end)
		end = c->expires;
	for (i = 0; i < TEMPLATE_RELEASE_TRIES; i++) {
		__u64 word = READ_ONCE(t->word), expires = READ_ONCE(t->expires);

		if (TEMPLATE_CHOICE(word) != choice || !KLVS_TEMPLATE_CONTROLLED(word))
			return 0;
		if (again && end > expires) {
			/* The kernel's timer ran meanwhile, and found it in control. */
			__u64 next = expires + (end - expires + again - 1) / again * again;

			WRITE_ONCE(t->timeout, again);
			__sync_val_compare_and_swap(&t->expires, expires, next);
		}
		if (__sync_val_compare_and_swap(&t->word, word, word - 1) == word)
			return 1;
	}
	return 0;
}
