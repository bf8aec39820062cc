/* module.c: sim/parallel/module.h on MPI. One thread. */
#include "sim/parallel/module.h"

#include "sim/group.h"

#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

#define PIECE_BYTES ((size_t)1 << 30) /* MPI counts in int */

static MPI_Request *requests;
static int request_count, request_capacity;

static bool join(uint32_t *rank, uint32_t *size, char *library, size_t library_capacity)
{
    int mine, all, length, provided;
    char text[MPI_MAX_LIBRARY_VERSION_STRING];
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS)
        return false;
    MPI_Comm_rank(MPI_COMM_WORLD, &mine);
    MPI_Comm_size(MPI_COMM_WORLD, &all);
    MPI_Get_library_version(text, &length);
    text[strcspn(text, "\n")] = 0;
    snprintf(library, library_capacity, "%s", text);
    *rank = (uint32_t)mine;
    *size = (uint32_t)all;
    return true;
}

static void leave(void)
{
    free(requests);
    requests = NULL;
    request_count = request_capacity = 0;
    MPI_Finalize();
}

static void end_all(int exit_code)
{
    MPI_Abort(MPI_COMM_WORLD, exit_code);
}

static void barrier(void)
{
    MPI_Barrier(MPI_COMM_WORLD);
}

static void reduce(int reduction, int64_t *values, uint32_t count)
{
    MPI_Op op = reduction == SIM_GROUP_SUM ? MPI_SUM : reduction == SIM_GROUP_MINIMUM ? MPI_MIN : MPI_MAX;
    const uint32_t step = UINT32_C(1) << 26;
    for (uint32_t at = 0; at < count; at += step) {
        uint32_t part = count - at < step ? count - at : step;
        MPI_Allreduce(MPI_IN_PLACE, values + at, (int)part, MPI_INT64_T, op, MPI_COMM_WORLD);
    }
}

static size_t piece(size_t size, size_t at)
{
    return size - at < PIECE_BYTES ? size - at : PIECE_BYTES;
}

static void broadcast(void *data, size_t size)
{
    for (size_t at = 0; at < size; at += PIECE_BYTES)
        MPI_Bcast((char *)data + at, (int)piece(size, at), MPI_BYTE, 0, MPI_COMM_WORLD);
}

static void send(uint32_t to, int tag, const void *data, size_t size)
{
    for (size_t at = 0; at < size; at += PIECE_BYTES)
        MPI_Send((const char *)data + at, (int)piece(size, at), MPI_BYTE, (int)to, tag, MPI_COMM_WORLD);
}

static void receive(uint32_t from, int tag, void *data, size_t size)
{
    for (size_t at = 0; at < size; at += PIECE_BYTES)
        MPI_Recv((char *)data + at, (int)piece(size, at), MPI_BYTE, (int)from, tag, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
}

static MPI_Request *one_more(void)
{
    if (request_count == request_capacity) {
        int capacity = request_capacity ? request_capacity * 2 : 64;
        MPI_Request *grown = realloc(requests, (size_t)capacity * sizeof(MPI_Request));
        if (!grown)
            return NULL;
        requests = grown;
        request_capacity = capacity;
    }
    return &requests[request_count++];
}

static bool begin_send(uint32_t to, int tag, const void *data, size_t size)
{
    MPI_Request *request = one_more();
    if (request)
        MPI_Isend(data, (int)size, MPI_BYTE, (int)to, tag, MPI_COMM_WORLD, request);
    return request;
}

static bool begin_receive(uint32_t from, int tag, void *data, size_t capacity)
{
    MPI_Request *request = one_more();
    if (request)
        MPI_Irecv(data, (int)capacity, MPI_BYTE, (int)from, tag, MPI_COMM_WORLD, request);
    return request;
}

static void finish(void)
{
    MPI_Waitall(request_count, requests, MPI_STATUSES_IGNORE);
    request_count = 0;
}

extern const struct parallel_module convoy_mpi_module;
__attribute__((visibility("default"))) const struct parallel_module convoy_mpi_module = {
    .version = PARALLEL_MODULE_VERSION,
    .join = join,
    .leave = leave,
    .abort = end_all,
    .barrier = barrier,
    .reduce = reduce,
    .broadcast = broadcast,
    .send = send,
    .receive = receive,
    .begin_send = begin_send,
    .begin_receive = begin_receive,
    .finish = finish,
};
