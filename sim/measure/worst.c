/* worst.c: who suffered most. A vehicle has one entry, its worst sample; it enters only by beating the last entry, and the last entry
 * only ever gets worse, so what is kept depends on the set of samples alone. */
#include "internal.h"

/* a is worse than b: larger, then the lower vehicle, then the earlier moment */
static bool is_worse(const struct measure_worst *a, const struct measure_worst *b)
{
    if (a->value != b->value)
        return a->value > b->value;
    if (a->vehicle != b->vehicle)
        return a->vehicle < b->vehicle;
    return a->at_us < b->at_us;
}

static void remove_at(struct worst_list *list, uint32_t index)
{
    list->count--;
    memmove(&list->entry[index], &list->entry[index + 1], (list->count - index) * sizeof(list->entry[0]));
}

/* Room for an entry at the index; the last one falls off a full list. */
static void insert_at(struct worst_list *list, uint32_t index, struct measure_worst entry)
{
    if (list->count < MEASURE_WORST)
        list->count++;
    memmove(&list->entry[index + 1], &list->entry[index], (list->count - 1 - index) * sizeof(list->entry[0]));
    list->entry[index] = entry;
}

void worst_add_slowly(struct worst_list *list, int64_t value, uint32_t vehicle, int64_t at_us)
{
    struct measure_worst entry = {.value = value, .at_us = at_us, .vehicle = vehicle};
    if (list->count == MEASURE_WORST && !is_worse(&entry, &list->entry[MEASURE_WORST - 1]))
        return;
    for (uint32_t i = 0; i < list->count; i++)
        if (list->entry[i].vehicle == vehicle) {
            if (!is_worse(&entry, &list->entry[i]))
                return;
            remove_at(list, i);
            break;
        }
    uint32_t index = list->count;
    while (index > 0 && is_worse(&entry, &list->entry[index - 1]))
        index--;
    insert_at(list, index, entry);
}

void worst_merge(struct worst_list *into, const struct worst_list *from)
{
    for (uint32_t i = 0; i < from->count; i++)
        worst_add(into, from->entry[i].value, from->entry[i].vehicle, from->entry[i].at_us);
}

uint32_t worst_copy(const struct worst_list *list, struct measure_worst out[MEASURE_WORST])
{
    memcpy(out, list->entry, list->count * sizeof(list->entry[0]));
    return list->count;
}

static bool is_earlier(const struct measure_worst *a, const struct measure_worst *b)
{
    return a->at_us < b->at_us || (a->at_us == b->at_us && a->step < b->step);
}

void victim_add(struct worst_list *list, struct measure_worst victim)
{
    uint32_t index = 0;
    while (index < list->count && list->entry[index].vehicle < victim.vehicle)
        index++;
    if (index < list->count && list->entry[index].vehicle == victim.vehicle) {
        struct measure_worst *known = &list->entry[index];
        int64_t times = known->value + victim.value;
        if (is_earlier(&victim, known))
            *known = victim;
        known->value = times;
        return;
    }
    if (index < MEASURE_WORST)
        insert_at(list, index, victim);
}

void victim_merge(struct worst_list *into, const struct worst_list *from)
{
    for (uint32_t i = 0; i < from->count; i++)
        victim_add(into, from->entry[i]);
}
