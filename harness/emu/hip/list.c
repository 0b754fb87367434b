/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "../../../reference/memory.h"
#include "hip.h"

void emu_list_add(struct emu_list *list, void *item) {
    if ((list->n & (list->n - 1)) == 0)
        list->items = dsv4_resize(list->items, (list->n == 0 ? 1 : 2 * list->n) * sizeof item);
    list->items[list->n++] = item;
}

bool emu_list_has(const struct emu_list *list, const void *item) {
    for (size_t i = 0; i < list->n; i++)
        if (list->items[i] == item) return true;
    return false;
}

bool emu_list_remove(struct emu_list *list, const void *item) {
    for (size_t i = 0; i < list->n; i++) {
        if (list->items[i] != item) continue;
        /* Capacity follows from n: shrinking keeps at least the smaller power of two. */
        memmove(list->items + i, list->items + i + 1, (list->n - i - 1) * sizeof *list->items);
        list->n--;
        return true;
    }
    return false;
}

void emu_list_free(struct emu_list *list) {
    dsv4_free(list->items);
    *list = (struct emu_list){NULL, 0};
}

void emu_list_copy(struct emu_list *to, const struct emu_list *from) {
    struct emu_list copy = {NULL, 0};
    for (size_t i = 0; i < from->n; i++) emu_list_add(&copy, from->items[i]);
    emu_list_free(to);
    *to = copy;
}
