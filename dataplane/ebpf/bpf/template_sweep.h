/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Takes out the templates that are over, or whose real server is forgotten. */
#pragma once

#include "dataplane/ebpf/bpf/template.h"

struct template_walk {
	__u64 now; /* jiffies */
};

static long template_visit(void *map, const struct klvs_template_key *key, struct klvs_template *t,
			   struct template_walk *walk)
{
	__u64 word = READ_ONCE(t->word);
	__u32 id = KLVS_TEMPLATE_REAL(word);
	struct klvs_real *real = bpf_map_lookup_elem(&klvs_reals, &id);
	struct klvs_template_key over = *key;

	if (real && real->flags & KLVS_REAL_VALID && !(real->flags & KLVS_REAL_FORGOTTEN) &&
	    (KLVS_TEMPLATE_CONTROLLED(word) || walk->now <= READ_ONCE(t->expires)))
		return 0;
	/* From here on nobody renews it. */
	if (__sync_val_compare_and_swap(&t->word, word, 0) != word)
		return 0;
	if (id)
		template_count(id, -1);
	bpf_map_delete_elem(&klvs_templates, &over);
	return 0;
}

static __always_inline void templates_sweep(__u64 now)
{
	struct template_walk walk = {.now = now};

	bpf_for_each_map_elem(&klvs_templates, template_visit, &walk, 0);
}
