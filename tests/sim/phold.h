/* phold.h: a model that shows any mistake of the queue and the exchange: entities spread over partitions, each event draws what happens
 * next: something for itself, or a message to any entity of any partition. What an entity draws depends on its state, and its state
 * on the order of what has happened to it; so one thing out of order changes every later one, and the digest.
 */
#ifndef TEST_PHOLD_H
#define TEST_PHOLD_H

#include "memory.h"
#include "sim/engine.h"
#include "sim/group.h"
#include "sim/random.h"

#include <stdlib.h>

enum { PHOLD_SELF, PHOLD_MESSAGE };

struct phold_options {
    uint64_t seed;
    uint32_t partitions, entities; /* entities: of each partition */
    int64_t lookahead_us;          /* of the exchange, at most delay_us */
    int64_t delay_us;              /* of the model: no message is faster */
    int64_t mean_us;               /* between an entity's events */
    uint32_t message_ppm;          /* events that send */
};

/* Messages of one entity that have been received and not yet handled, oldest first. */
struct phold_letter {
    struct phold_letter *next;
    int64_t at_us;
    uint64_t word;
};

struct phold_entity {
    uint64_t state, drawn;
    struct phold_letter *first, **last;
};

struct phold_partition {
    struct phold *model;
    uint32_t number;
    struct sim_queue *queue;
    struct phold_entity *entities;
};

struct phold {
    struct phold_options options;
    struct sim_group *group;
    struct sim_exchange *exchange;
    struct phold_partition *partitions; /* only this rank's are filled */
    struct sim_digest digest;
    uint64_t events, refused; /* refused: sends for which there was no memory */
    bool stop;                /* at the next between() */
    uint32_t betweens;
};

static inline uint64_t phold_draw(struct phold_partition *partition, struct phold_entity *entity, uint32_t purpose)
{
    uint32_t number = partition->number * partition->model->options.entities + (uint32_t)(entity - partition->entities);
    return sim_random_at(partition->model->options.seed ^ entity->state, number, purpose, entity->drawn++);
}

static inline void phold_send(struct phold_partition *partition, struct phold_entity *entity, int64_t now_us)
{
    struct phold *model = partition->model;
    uint64_t to = phold_draw(partition, entity, 1), late = phold_draw(partition, entity, 2);
    /* A whole number of milliseconds more: messages for the same entity at the same time are common. */
    struct sim_message message = {
        .at_us = (now_us + model->options.delay_us) / 1000 * 1000 + 1000 + (int64_t)(late % 4) * 1000,
        .to = (uint32_t)(to >> 32) % model->options.partitions,
        .from = partition->number,
        .entity = (uint32_t)to % (model->options.entities < 8 ? model->options.entities : 8),
        .kind = 1,
        .length = sizeof entity->state,
    };
    memcpy(message.data, &entity->state, sizeof entity->state);
    if (!sim_exchange_send(model->exchange, now_us, &message))
        model->refused++;
}

static inline void phold_handle(void *context, int64_t now_us, uint32_t number, uint8_t class)
{
    struct phold_partition *partition = context;
    struct phold *model = partition->model;
    struct phold_entity *entity = &partition->entities[number];
    uint64_t what = class;
    if (class == PHOLD_MESSAGE) {
        struct phold_letter *letter = entity->first;
        ASSERT(letter && letter->at_us == now_us);
        entity->first = letter->next;
        if (!entity->first)
            entity->last = &entity->first;
        what = letter->word;
        free(letter);
    }
    entity->state = (entity->state ^ what ^ (uint64_t)now_us) * UINT64_C(0x9E3779B97F4A7C15) + class;
    model->events++;
    sim_digest_add(&model->digest, (uint64_t)partition->number << 32 | number, now_us, class, entity->state);
    if (phold_draw(partition, entity, 3) % 1000000 < model->options.message_ppm)
        phold_send(partition, entity, now_us);
    if (class == PHOLD_SELF) {
        int64_t pause_us = 1 + (int64_t)(phold_draw(partition, entity, 4) % (uint64_t)(2 * model->options.mean_us));
        ASSERT(sim_queue_push(partition->queue, now_us + pause_us, number, PHOLD_SELF));
    }
}

static inline void phold_advance(void *context, uint32_t number, int64_t until_us)
{
    static const struct sim_handlers handlers = {phold_handle, NULL};
    struct phold *model = context;
    sim_queue_run(model->partitions[number].queue, until_us, &handlers, &model->partitions[number]);
}

static inline void phold_receive(void *context, const struct sim_message *message)
{
    struct phold *model = context;
    struct phold_partition *partition = &model->partitions[message->to];
    struct phold_entity *entity = &partition->entities[message->entity];
    struct phold_letter *letter = calloc(1, sizeof *letter);
    ASSERT(letter && message->length == sizeof letter->word && message->kind == 1);
    letter->at_us = message->at_us;
    memcpy(&letter->word, message->data, sizeof letter->word);
    *entity->last = letter;
    entity->last = &letter->next;
    ASSERT(sim_queue_push(partition->queue, message->at_us, message->entity, PHOLD_MESSAGE));
}

static inline int64_t phold_next(void *context, uint32_t number)
{
    struct phold *model = context;
    return sim_queue_next_time(model->partitions[number].queue);
}

/* Collective, as a world's progress is. */
static inline bool phold_between(void *context, int64_t now_us)
{
    struct phold *model = context;
    int64_t seen[2] = {now_us, -now_us};
    sim_group_reduce(model->group, SIM_GROUP_MINIMUM, seen, 2);
    ASSERT(seen[0] == now_us && seen[1] == -now_us);
    model->betweens++;
    return !model->stop;
}

/* heap: where the exchange lives, or NULL. */
static inline void phold_create(struct phold *model, struct sim_group *group, const struct phold_options *options,
                                struct memory_heap *heap)
{
    *model = (struct phold){.options = *options, .group = group};
    struct memory_heap *before = memory_enter(heap);
    model->exchange =
        sim_exchange_create(group, &(struct sim_exchange_options){options->partitions, options->lookahead_us});
    memory_enter(before);
    model->partitions = calloc(options->partitions, sizeof *model->partitions);
    ASSERT(model->exchange && model->partitions);
    for (uint32_t p = sim_group_rank(group); p < options->partitions; p += sim_group_size(group)) {
        struct phold_partition *partition = &model->partitions[p];
        *partition = (struct phold_partition){.model = model, .number = p, .queue = sim_queue_create(NULL)};
        partition->entities = calloc(options->entities, sizeof *partition->entities);
        ASSERT(partition->queue && partition->entities);
        for (uint32_t i = 0; i < options->entities; i++) {
            struct phold_entity *entity = &partition->entities[i];
            entity->last = &entity->first;
            int64_t at_us = (int64_t)(phold_draw(partition, entity, 5) % (uint64_t)(2 * options->mean_us));
            ASSERT(sim_queue_push(partition->queue, at_us, i, PHOLD_SELF));
        }
    }
}

static inline bool phold_run(struct phold *model, int64_t from_us, int64_t until_us)
{
    static const struct sim_exchange_hooks hooks = {phold_advance, phold_receive, phold_next, phold_between};
    return sim_exchange_run(model->exchange, from_us, until_us, &hooks, model);
}

/* The digest and the sums of all ranks. */
static inline void phold_result(struct phold *model, char digest[33], uint64_t *events, uint64_t *messages)
{
    struct sim_exchange_counts counts;
    sim_exchange_count(model->exchange, &counts);
    /* 128-bit sums in 32-bit parts, so that a reduction of 64-bit integers can carry them. */
    int64_t parts[6] = {(int64_t)(model->digest.low & UINT32_MAX),
                        (int64_t)(model->digest.low >> 32),
                        (int64_t)(model->digest.high & UINT32_MAX),
                        (int64_t)(model->digest.high >> 32),
                        (int64_t)model->events,
                        (int64_t)counts.messages};
    sim_group_reduce(model->group, SIM_GROUP_SUM, parts, 6);
    struct sim_digest total = {0, 0};
    unsigned __int128 sum = (unsigned __int128)(uint64_t)parts[0] + ((unsigned __int128)(uint64_t)parts[1] << 32) +
                            ((unsigned __int128)(uint64_t)parts[2] << 64) +
                            ((unsigned __int128)(uint64_t)parts[3] << 96);
    total.low = (uint64_t)sum;
    total.high = (uint64_t)(sum >> 64);
    sim_digest_text(&total, digest);
    *events = (uint64_t)parts[4];
    *messages = (uint64_t)parts[5];
}

static inline void phold_destroy(struct phold *model)
{
    for (uint32_t p = 0; p < model->options.partitions; p++) {
        struct phold_partition *partition = &model->partitions[p];
        if (!partition->queue)
            continue;
        for (uint32_t i = 0; i < model->options.entities; i++)
            for (struct phold_letter *letter = partition->entities[i].first, *next; letter; letter = next) {
                next = letter->next;
                free(letter);
            }
        sim_queue_destroy(partition->queue);
        free(partition->entities);
    }
    free(model->partitions);
    sim_exchange_destroy(model->exchange);
}

#endif
