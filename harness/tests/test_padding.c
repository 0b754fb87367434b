/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Padding: tokens and requests that a step has only because its graph was captured with more. What it must not do, rule by
 * rule, and for each rule the ops that meet it with the bugs that break it: cases tagged `padding`, or padding- something, must kill those.
 */
#include "support.h"

enum { OUTPUT = 1 << 20 };
static char output[OUTPUT];

static const struct {
    const char *rule, *op, *mutants;
} rules[] = {
    {"slot -1 stores nothing",                                              "kv_quantize_insert",          "padding-writes"                       },
    {"slot -1 stores nothing",                                              "kv_qnorm_rope_insert",        "padding-writes"                       },
    {"slot -1 stores nothing",                                              "kv_norm_rope_store",          "padding-writes"                       },
    {"slot -1 stores nothing",                                              "kv_save_partial_states",      "padding-writes"                       },
    {"an entry of no token is slot -1",                                     "idx_compressed_slot_mapping", "buffer-kept"                          },
    {"not valid: no window, and the index row stays",                       "idx_swa",                     "padding-len padding-cleared"          },
    {"not valid: no selected rows, and the index row is written",           "idx_global_topk",
     "padding-len padding-cleared"                                                                                                                },
    {"not valid: no selected rows, and the index row is written",           "idx_c128a_metadata",
     "padding-len padding-cleared"                                                                                                                },
    {"not valid: no selected rows, and the index row is written",           "idx_flashinfer_mixed",
     "padding-len"                                                                                                                                },
    {"seq_len 0: no rows to score, said by a 0",                            "idx_indexer_decode_lens",
     "not-clamped padding-kept rest-kept"                                                                                                         },
    {"seq_len below the query: positions before the sequence have nothing", "idx_swa",
     "negative-len"                                                                                                                               },
    {"seq_len below the query: positions before the sequence have nothing",
     "idx_compressed_slot_mapping",                                                                        "negative-mapped"                      },
    {"seq_len below the query: positions before the sequence have nothing",
     "idx_indexer_prefill_metadata",                                                                       "ke-before-ks"                         },
    {"seq_len below the query: positions before the sequence have nothing", "idx_combine_topk_swa",
     "negative-len"                                                                                                                               },
    {"seq_len below the query: rows that there are",                        "idx_prefill_gather_lens",     "context-clamped"                      },
    {"a negative position has no rows",                                     "idx_c128a_metadata",          "negative-wraps"                       },
    {"a negative position has no rows",                                     "idx_short_context_fill",      "negative-wraps"                       },
    {"a token of no request has nothing",                                   "idx_combine_topk_swa",        "uncovered-len"                        },
    {"a request without keys is not scored, and cleaned like others",       "idx_mqa_logits",
     "clean-other empty-row-kept"                                                                                                                 },
    {"a request without keys is not scored, and cleaned like others",       "idx_paged_mqa_logits",
     "clean-other empty-row-kept negative-wraps"                                                                                                  },
    {"a row of length 0 selects -1",                                        "idx_topk",                    "empty-row-kept tail-kept negative-len"},
    {"a row of length 0 selects -1",                                        "idx_topk_buffer",             "padding-kept all-cleared"             },
    {"what nobody owns stays: gathered keys",                               "idx_k_gather",                "tail-written invalid-zeroed"          },
    {"what nobody owns stays: graph buffers",                               "graph_copy_ragged",           "tail-cleared"                         },
    {"padding that nothing tells apart is computed",                        "idx_q_quant",                 "zeros-skipped"                        },
    {"padding of a pack is -inf, or the byte given",                        "idx_pack_ragged",
     "padding-kept padding-zero"                                                                                                                  },
    {"length 0 is a row of +0 and lse +inf, whatever its index row holds",  "attn_sparse_decode",
     "empty-unwritten empty-lse len-ignored"                                                                                                      },
    {"length 0 is a row of +0 and lse +inf, whatever its index row holds",  "attn_sparse_prefill",
     "empty-unwritten empty-lse len-ignored"                                                                                                      },
    {"length 0 is empty splits, whatever its index row holds",              "attn_decode_partial",
     "empty-unwritten empty-split-inf len-ignored"                                                                                                },
    {"empty splits are a row of +0 and lse +inf, whatever they hold",       "attn_combine",
     "empty-unwritten empty-lse empty-weighed count-ignored"                                                                                      },
    {"a request of length 0 is planned for: somebody must write its row",   "attn_sched_metadata",
     "zero-len-no-block"                                                                                                                          },
    {"rows beyond the step stay",                                           "mhc_expand",                  "padding-written"                      },
    {"rows beyond the step stay",                                           "mhc_prenorm_gemm",            "padding-written"                      },
    {"rows beyond the step stay",                                           "mhc_split_sinkhorn",          "padding-written"                      },
    {"rows beyond the step stay",                                           "mhc_collapse",                "padding-written"                      },
    {"rows beyond the step stay",                                           "mhc_post",                    "padding-written"                      },
    {"rows beyond the step stay",                                           "mhc_pre",                     "padding-written"                      },
    {"rows beyond the step stay",                                           "mhc_fused_post_pre",          "padding-written"                      },
    {"rows beyond the step stay",                                           "mhc_pre_broadcast",           "padding-written"                      },
    {"rows beyond the step stay",                                           "mhc_head",                    "padding-written"                      },
    {"rows beyond those in use stay",                                       "moe_swiglu",                  "all-rows"                             },
    {"rows beyond those in use stay",                                       "moe_swiglu_quant",            "all-rows"                             },
    {"rows beyond the step stay",                                           "mtp_hidden_copy",             "tail-zeroed tail-copied"              },
    {"padding has no experts: ids -1, weights 0",                           "moe_topk",
     "padding-routed padding-kept padding-weighed"                                                                                                },
    {"padding has no experts: ids -1, weights 0",                           "moe_hash_topk",
     "padding-routed padding-kept padding-weighed"                                                                                                },
    {"padding has no experts: ids -1, weights 0",                           "moe_prepare",
     "padding-kept padding-weighed padding-skipped"                                                                                               },
    {"id -1 is no expert",                                                  "moe_expert_count",            "negative-first"                       },
    {"id -1 is no expert",                                                  "moe_align_block_size",        "negative-first"                       },
    {"id -1 is no expert",                                                  "moe_mask_indices_by_tp",      "negative-first"                       },
    {"id -1 is no expert",                                                  "moe_eplb_map",                "negative-first counted-padding"       },
    {"id -1 is no expert",                                                  "moe_permute",                 "negative-first padding-other"         },
    {"id -1 is no expert",                                                  "moe_combine",                 "skipped-added"                        },
    {"id -1 is no expert",                                                  "moe_unpermute",               "skipped-read zeroed"                  },
    {"id -1 is no expert",                                                  "gemm_fp8_fp4",                "padding-written padding-ends"         },
    {"group -1 is no group",                                                "moe_unique_group_indices",    "negative-first"                       },
    {"id -1 is in no shard: a row of zeros",                                "mtp_embedding",               "outside-kept outside-clamped"         },
    {"padding that nothing tells apart is computed",                        "norm_rms",                    "zeros-skipped"                        },
    {"padding that nothing tells apart is computed",                        "norm_q_kv",                   "zeros-skipped"                        },
    {"padding that nothing tells apart is computed",                        "norm_q_head",                 "zeros-skipped"                        },
    {"padding that nothing tells apart is computed",                        "mtp_input_norm",              "zeros-skipped"                        },
    {"padding that nothing tells apart is computed",                        "mtp_dspark_qkv",              "zeros-skipped"                        },
    {"what pads the scales is zero, or stays",                              "quant_group_fp8",             "pad-rows pad-bytes"                   },
    {"what pads the scales is zero, or stays",                              "quant_mxfp4",                 "pad-rows pad-bytes"                   },
    {"what pads the scales is zero, or stays",                              "quant_scale_layout",          "pad-rows pad-bytes"                   },
    {"what pads the scales is zero, or stays",                              "rope_inverse_quant",          "padding-kept"                         },
};

static const size_t n_rules = sizeof rules / sizeof *rules;

Test(padding, every_rule_is_seen) {
    char line[300], words[200];
    const char *ran = "";
    for (size_t i = 0; i < n_rules; i++) {
        if (strcmp(ran, rules[i].op) != 0) {
            snprintf(line, sizeof line, "selftest --fresh --op %s --tag 'padding*'", rules[i].op);
            cr_assert_leq(support_run(output, OUTPUT, line), 1, "%s", output);
            ran = rules[i].op;
        }
        snprintf(words, sizeof words, "%s", rules[i].mutants);
        for (char *word = strtok(words, " "); word != NULL; word = strtok(NULL, " ")) {
            snprintf(line, sizeof line, "%s %s killed by ", rules[i].op, word);
            cr_expect(strstr(output, line) != NULL, "%s: no case of %s tagged `padding` sees %s",
                      rules[i].rule, rules[i].op, word);
        }
    }
}

/* A tag that nothing holds to a rule would be a claim. */
Test(padding, every_op_with_such_a_tag_has_a_rule) {
    static const char *const families[] = {"attn_", "idx_",  "graph_", "mhc_",  "moe_",
                                           "mtp_",  "norm_", "quant_", "rope_", "gemm_"};
    for (size_t i = 0; i < dsv4_n_ops; i++) {
        const char *const op = dsv4_ops[i]->name;
        bool ours = false, listed = false;
        char line[300];
        for (size_t f = 0; f < sizeof families / sizeof *families; f++)
            ours |= strncmp(op, families[f], strlen(families[f])) == 0;
        for (size_t r = 0; r < n_rules; r++) listed |= strcmp(rules[r].op, op) == 0;
        if (!ours) continue;
        snprintf(line, sizeof line, "list --cases --op %s --tag 'padding*'", op);
        cr_expect_eq(support_run(output, OUTPUT, line) == 0 && strstr(output, op) != NULL, listed,
                     "%s", op);
    }
}
