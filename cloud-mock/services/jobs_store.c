/* jobs_store.c: rows, names, texts and timers of the job service: found by hash, never by going through all of them. */
#include "jobs_internal.h"

#include "memory.h"

#define NAMES_FIRST 128u
#define NAMES_MOST  4096u

struct jobs_names {
    struct jobs_names *next;
    uint32_t used, capacity;
    char data[];
};

/* ---- hashes --------------------------------------------------------------------------------------------------------- */

uint64_t jobs_mix(uint64_t value)
{
    value = (value ^ value >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    value = (value ^ value >> 27) * UINT64_C(0x94D049BB133111EB);
    return value ^ value >> 31;
}

uint64_t jobs_hash_bytes(struct span bytes)
{
    uint64_t hash = UINT64_C(0xCBF29CE484222325);
    for (uint32_t i = 0; i < bytes.length; i++)
        hash = (hash ^ bytes.data[i]) * UINT64_C(0x100000001B3);
    return jobs_mix(hash);
}

static uint32_t hash_of_text(struct span text)
{
    return (uint32_t)(jobs_hash_bytes(text) >> 32);
}

static uint32_t hash_of_pair(uint32_t job, uint32_t thing)
{
    return (uint32_t)(jobs_mix(((uint64_t)job << 32 | thing) + UINT64_C(0x9E3779B97F4A7C15)) >> 32);
}

static uint32_t hash_of_job(const void *context, uint32_t job)
{
    return ((const struct cloud_jobs *)context)->jobs[job]->hash;
}

static uint32_t hash_of_thing(const void *context, uint32_t thing)
{
    return ((const struct cloud_jobs *)context)->things[thing].hash;
}

static uint32_t hash_of_row(const void *context, uint32_t row)
{
    const struct jobs_execution *execution = &((const struct cloud_jobs *)context)->executions[row];
    return hash_of_pair(execution->job, execution->thing);
}

/* ---- finding -------------------------------------------------------------------------------------------------------- */

uint32_t jobs_find_job(const struct cloud_jobs *jobs, struct span id)
{
    const struct index *index = &jobs->job_index;
    if (!index->size || !id.length)
        return JOBS_NONE;
    uint32_t hash = hash_of_text(id), found;
    for (uint32_t at = index_first(index, hash); (found = index_slot(index, at)) != 0; at = index_next(index, at))
        if (jobs->jobs[found - 1]->hash == hash && span_equal(span_text(jobs->jobs[found - 1]->id), id))
            return found - 1;
    return JOBS_NONE;
}

uint32_t jobs_find_thing(const struct cloud_jobs *jobs, struct span name)
{
    const struct index *index = &jobs->thing_index;
    if (!index->size)
        return JOBS_NONE;
    uint32_t hash = hash_of_text(name), found;
    for (uint32_t at = index_first(index, hash); (found = index_slot(index, at)) != 0; at = index_next(index, at)) {
        const struct jobs_thing *thing = &jobs->things[found - 1];
        if (thing->hash == hash && span_equal(span_of(thing->name, thing->name_length), name))
            return found - 1;
    }
    return JOBS_NONE;
}

uint32_t jobs_find_row(const struct cloud_jobs *jobs, uint32_t job, uint32_t thing)
{
    const struct index *index = &jobs->execution_index;
    if (!index->size || job == JOBS_NONE || thing == JOBS_NONE)
        return JOBS_NONE;
    uint32_t found;
    for (uint32_t at = index_first(index, hash_of_pair(job, thing)); (found = index_slot(index, at)) != 0;
         at = index_next(index, at))
        if (jobs->executions[found - 1].job == job && jobs->executions[found - 1].thing == thing)
            return found - 1;
    return JOBS_NONE;
}

/* ---- rows ----------------------------------------------------------------------------------------------------------- */

/* By half while small, by a quarter later: memory is dear where fleets are large. */
static bool grow(void *rows_of, uint32_t *capacity, uint32_t count, size_t size)
{
    if (count < *capacity)
        return true;
    uint32_t more = *capacity < 8 ? 8 : *capacity + (*capacity < 256 ? *capacity / 2 : *capacity / 4);
    void *rows;
    memcpy(&rows, rows_of, sizeof(rows));
    if (more <= *capacity || more >= JOBS_TIMER_OF_JOB || !(rows = memory_resize(rows, more * size)))
        return false;
    memcpy(rows_of, &rows, sizeof(rows));
    *capacity = more;
    return true;
}

static const char *name_keep(struct cloud_jobs *jobs, struct span name)
{
    struct jobs_names *names = jobs->names;
    if (!names || names->capacity - names->used < name.length) {
        uint32_t capacity = !names ? NAMES_FIRST : names->capacity < NAMES_MOST ? names->capacity * 2 : NAMES_MOST;
        struct jobs_names *fresh = memory_allocate(sizeof(*fresh) + capacity);
        if (!fresh)
            return NULL;
        *fresh = (struct jobs_names){.next = names, .capacity = capacity};
        jobs->block_bytes += sizeof(*fresh) + capacity;
        jobs->names = names = fresh;
    }
    char *kept = names->data + names->used;
    memcpy(kept, name.data, name.length);
    names->used += name.length;
    return kept;
}

uint32_t jobs_add_job(struct cloud_jobs *jobs, struct span id)
{
    uint32_t number = jobs->job_count;
    if (!grow(&jobs->jobs, &jobs->job_capacity, number, sizeof(*jobs->jobs)) ||
        !index_room(&jobs->job_index, number, hash_of_job, jobs))
        return JOBS_NONE;
    struct jobs_job *job = memory_allocate_zero(1, sizeof(*job));
    if (!job)
        return JOBS_NONE;
    memcpy(job->id, id.data, id.length);
    job->hash = hash_of_text(id);
    job->first = job->last = job->cursor = job->timer = JOBS_NONE;
    jobs->jobs[number] = job;
    jobs->job_count++;
    jobs->block_bytes += sizeof(*job);
    index_place(&jobs->job_index, job->hash, number);
    return number;
}

uint32_t jobs_add_thing(struct cloud_jobs *jobs, struct span name)
{
    uint32_t number = jobs->thing_count;
    const char *kept;
    if (!grow(&jobs->things, &jobs->thing_capacity, number, sizeof(*jobs->things)) ||
        !index_room(&jobs->thing_index, number, hash_of_thing, jobs) || !(kept = name_keep(jobs, name)))
        return JOBS_NONE;
    jobs->things[number] = (struct jobs_thing){.name = kept,
                                               .name_length = name.length,
                                               .hash = hash_of_text(name),
                                               .open_first = JOBS_NONE,
                                               .open_last = JOBS_NONE,
                                               .told = JOBS_NONE};
    jobs->thing_count++;
    index_place(&jobs->thing_index, jobs->things[number].hash, number);
    return number;
}

/* The number of a row to be had, not taken yet. */
static uint32_t row_offered(struct cloud_jobs *jobs)
{
    if (jobs->free_row != JOBS_NONE)
        return jobs->free_row;
    if (!grow(&jobs->executions, &jobs->execution_capacity, jobs->execution_count, sizeof(*jobs->executions)))
        return JOBS_NONE;
    return jobs->execution_count;
}

static void row_taken(struct cloud_jobs *jobs, uint32_t row)
{
    if (row == jobs->free_row)
        jobs->free_row = jobs->executions[row].job_next;
    else
        jobs->execution_count++;
}

uint32_t jobs_add_row(struct cloud_jobs *jobs, uint32_t job, uint32_t thing)
{
    uint32_t number = row_offered(jobs);
    if (number == JOBS_NONE || !index_room(&jobs->execution_index, number, hash_of_row, jobs))
        return JOBS_NONE;
    row_taken(jobs, number);
    jobs->executions[number] = (struct jobs_execution){.started_us = -1,
                                                       .job = job,
                                                       .thing = thing,
                                                       .older = JOBS_NONE,
                                                       .job_next = JOBS_NONE,
                                                       .open_next = JOBS_NONE,
                                                       .open_previous = JOBS_NONE,
                                                       .timer = JOBS_NONE};
    index_place(&jobs->execution_index, hash_of_pair(job, thing), number);
    return number;
}

/* Archived rows are in no index: they are reached through the row they came from. */
uint32_t jobs_archive(struct cloud_jobs *jobs, uint32_t row)
{
    uint32_t copy = row_offered(jobs);
    if (copy == JOBS_NONE)
        return JOBS_NONE;
    row_taken(jobs, copy);
    struct jobs_execution *archived = &jobs->executions[copy];
    *archived = jobs->executions[row];
    archived->flags |= JOBS_ARCHIVED;
    archived->timer = archived->open_next = archived->open_previous = archived->job_next = JOBS_NONE;
    if (archived->details)
        archived->details->uses++;
    jobs->executions[row].older = copy;
    return copy;
}

/* The row and the attempts before it. */
static void row_release(struct cloud_jobs *jobs, uint32_t row)
{
    index_remove(&jobs->execution_index, row, hash_of_row, jobs);
    for (uint32_t older; row != JOBS_NONE; row = older) {
        struct jobs_execution *execution = &jobs->executions[row];
        older = execution->older;
        jobs_text_drop(jobs, execution->details);
        *execution = (struct jobs_execution){.job_next = jobs->free_row, .timer = JOBS_NONE, .flags = JOBS_FREE};
        jobs->free_row = row;
    }
}

void jobs_forget(struct cloud_jobs *jobs, uint32_t number)
{
    struct jobs_job *job = jobs->jobs[number];
    for (uint32_t row = job->first, next; row != JOBS_NONE; row = next) {
        next = jobs->executions[row].job_next;
        row_release(jobs, row);
    }
    index_remove(&jobs->job_index, number, hash_of_job, jobs);
    jobs_text_drop(jobs, job->document);
    jobs->block_bytes -= sizeof(*job);
    jobs->jobs[number] = NULL;
    memory_free(job);
}

/* ---- texts ---------------------------------------------------------------------------------------------------------- */

static void texts_spread(struct cloud_jobs *jobs)
{
    uint32_t buckets = jobs->text_buckets ? jobs->text_buckets * 2 : 8;
    struct jobs_text **spread = memory_allocate_zero(buckets, sizeof(*spread));
    if (!spread)
        return; /* longer chains will do */
    for (uint32_t i = 0; i < jobs->text_buckets; i++)
        for (struct jobs_text *text = jobs->texts[i], *next; text; text = next) {
            next = text->next;
            text->next = spread[text->hash & (buckets - 1)];
            spread[text->hash & (buckets - 1)] = text;
        }
    memory_free(jobs->texts);
    jobs->texts = spread;
    jobs->text_buckets = buckets;
}

struct jobs_text *jobs_text_take(struct cloud_jobs *jobs, struct span text)
{
    if (jobs->text_count >= jobs->text_buckets)
        texts_spread(jobs);
    if (!jobs->text_buckets)
        return NULL;
    uint32_t hash = hash_of_text(text);
    struct jobs_text **bucket = &jobs->texts[hash & (jobs->text_buckets - 1)];
    for (struct jobs_text *found = *bucket; found; found = found->next)
        if (found->hash == hash && span_equal(span_of(found->data, found->length), text)) {
            found->uses++;
            return found;
        }
    struct jobs_text *fresh = memory_allocate(sizeof(*fresh) + text.length);
    if (!fresh)
        return NULL;
    *fresh = (struct jobs_text){.next = *bucket, .hash = hash, .uses = 1, .length = text.length};
    memcpy(fresh->data, text.data, text.length);
    *bucket = fresh;
    jobs->text_count++;
    jobs->block_bytes += sizeof(*fresh) + text.length;
    return fresh;
}

void jobs_text_drop(struct cloud_jobs *jobs, struct jobs_text *text)
{
    if (!text || --text->uses)
        return;
    struct jobs_text **from = &jobs->texts[text->hash & (jobs->text_buckets - 1)];
    while (*from != text)
        from = &(*from)->next;
    *from = text->next;
    jobs->text_count--;
    jobs->block_bytes -= sizeof(*text) + text->length;
    memory_free(text);
}

/* ---- timers --------------------------------------------------------------------------------------------------------- */

static bool earlier(const struct jobs_timer *a, const struct jobs_timer *b)
{
    return a->at_us < b->at_us || (a->at_us == b->at_us && a->id < b->id);
}

static uint32_t *timer_place(struct cloud_jobs *jobs, uint32_t id)
{
    return id & JOBS_TIMER_OF_JOB ? &jobs->jobs[id & ~JOBS_TIMER_OF_JOB]->timer : &jobs->executions[id].timer;
}

static void timer_put(struct cloud_jobs *jobs, uint32_t at, struct jobs_timer timer)
{
    jobs->timers[at] = timer;
    *timer_place(jobs, timer.id) = at;
}

/* Puts a timer where it belongs, beginning at a place that is free. */
static void timer_settle(struct cloud_jobs *jobs, uint32_t at, struct jobs_timer timer)
{
    while (at > 0 && earlier(&timer, &jobs->timers[(at - 1) / 2])) {
        timer_put(jobs, at, jobs->timers[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= jobs->timer_count)
            break;
        if (child + 1 < jobs->timer_count && earlier(&jobs->timers[child + 1], &jobs->timers[child]))
            child++;
        if (!earlier(&jobs->timers[child], &timer))
            break;
        timer_put(jobs, at, jobs->timers[child]);
        at = child;
    }
    timer_put(jobs, at, timer);
}

static void timer_room(struct cloud_jobs *jobs)
{
    if (jobs->timer_count < jobs->timer_capacity)
        return;
    uint32_t capacity = jobs->timer_capacity ? jobs->timer_capacity + (jobs->timer_capacity + 3) / 4 : 4;
    struct jobs_timer *timers = memory_resize_beyond(jobs->timers, capacity * sizeof(*timers));
    ASSERT(timers);
    jobs->timers = timers;
    jobs->timer_capacity = capacity;
}

void jobs_timer_set(struct cloud_jobs *jobs, uint32_t id, int64_t at_us)
{
    uint32_t *place = timer_place(jobs, id);
    if (at_us != TIME_NEVER) {
        if (*place == JOBS_NONE) {
            timer_room(jobs);
            *place = jobs->timer_count++;
        }
        timer_settle(jobs, *place, (struct jobs_timer){at_us, id});
    } else if (*place != JOBS_NONE) {
        uint32_t at = *place;
        *place = JOBS_NONE;
        struct jobs_timer last = jobs->timers[--jobs->timer_count];
        if (at < jobs->timer_count)
            timer_settle(jobs, at, last);
    }
}

int64_t jobs_timer_of(const struct cloud_jobs *jobs, uint32_t row)
{
    uint32_t at = jobs->executions[row].timer;
    return at == JOBS_NONE ? TIME_NEVER : jobs->timers[at].at_us;
}

/* ---- what a thing has before it ------------------------------------------------------------------------------------- */

void jobs_open_link(struct cloud_jobs *jobs, uint32_t row, bool in_front)
{
    struct jobs_execution *execution = &jobs->executions[row];
    struct jobs_thing *thing = &jobs->things[execution->thing];
    execution->open_previous = in_front ? JOBS_NONE : thing->open_last;
    execution->open_next = in_front ? thing->open_first : JOBS_NONE;
    if (execution->open_previous == JOBS_NONE)
        thing->open_first = row;
    else
        jobs->executions[execution->open_previous].open_next = row;
    if (execution->open_next == JOBS_NONE)
        thing->open_last = row;
    else
        jobs->executions[execution->open_next].open_previous = row;
}

void jobs_open_unlink(struct cloud_jobs *jobs, uint32_t row)
{
    struct jobs_execution *execution = &jobs->executions[row];
    struct jobs_thing *thing = &jobs->things[execution->thing];
    if (execution->open_previous == JOBS_NONE)
        thing->open_first = execution->open_next;
    else
        jobs->executions[execution->open_previous].open_next = execution->open_next;
    if (execution->open_next == JOBS_NONE)
        thing->open_last = execution->open_previous;
    else
        jobs->executions[execution->open_next].open_previous = execution->open_previous;
    execution->open_next = execution->open_previous = JOBS_NONE;
}

uint32_t jobs_next_of(const struct cloud_jobs *jobs, uint32_t thing)
{
    uint32_t queued = JOBS_NONE;
    if (thing == JOBS_NONE)
        return JOBS_NONE;
    for (uint32_t row = jobs->things[thing].open_first; row != JOBS_NONE; row = jobs->executions[row].open_next) {
        const struct jobs_execution *execution = &jobs->executions[row];
        if (execution->state == CLOUD_EXECUTION_IN_PROGRESS)
            return row;
        if (queued == JOBS_NONE && !(execution->flags & JOBS_WAITING))
            queued = row;
    }
    return queued;
}

/* ---- the whole ------------------------------------------------------------------------------------------------------ */

void jobs_free(struct cloud_jobs *jobs)
{
    for (uint32_t i = 0; i < jobs->job_count; i++)
        memory_free(jobs->jobs[i]);
    for (uint32_t i = 0; i < jobs->text_buckets; i++)
        for (struct jobs_text *text = jobs->texts[i], *next; text; text = next) {
            next = text->next;
            memory_free(text);
        }
    for (struct jobs_names *names = jobs->names, *next; names; names = next) {
        next = names->next;
        memory_free(names);
    }
    memory_free(jobs->jobs);
    memory_free(jobs->texts);
    memory_free(jobs->things);
    memory_free(jobs->executions);
    memory_free(jobs->timers);
    index_free(&jobs->job_index);
    index_free(&jobs->thing_index);
    index_free(&jobs->execution_index);
    memory_free(jobs);
}

uint64_t cloud_jobs_bytes(const struct cloud_jobs *jobs)
{
    return sizeof(*jobs) + jobs->block_bytes + jobs->job_capacity * sizeof(*jobs->jobs) +
           jobs->thing_capacity * sizeof(*jobs->things) + jobs->execution_capacity * sizeof(*jobs->executions) +
           jobs->timer_capacity * sizeof(*jobs->timers) + jobs->text_buckets * sizeof(struct jobs_text *) +
           index_bytes(&jobs->job_index) + index_bytes(&jobs->thing_index) + index_bytes(&jobs->execution_index);
}
