/* listener.c: sockets to listen on, and the two clocks. */
#include "serve_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static int64_t clock_us(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * US_PER_S + now.tv_nsec / 1000;
}

int64_t serve_monotonic_us(void)
{
    return clock_us(CLOCK_MONOTONIC);
}

int64_t serve_wall_us(void)
{
    return clock_us(CLOCK_REALTIME);
}

static socklen_t socket_address(const char *address, int port, struct sockaddr_storage *out)
{
    struct sockaddr_in *four = (struct sockaddr_in *)out;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)out;
    memset(out, 0, sizeof(*out));
    if (inet_pton(AF_INET, address, &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = htons((uint16_t)port);
        return sizeof(*four);
    }
    if (inet_pton(AF_INET6, address, &six->sin6_addr) == 1) {
        six->sin6_family = AF_INET6;
        six->sin6_port = htons((uint16_t)port);
        return sizeof(*six);
    }
    return 0;
}

int serve_listen(const char *address, int *port, char *error, size_t error_capacity)
{
    struct sockaddr_storage where;
    socklen_t length = socket_address(address, *port, &where);
    if (length == 0) {
        snprintf(error, error_capacity, "listen: '%s' is no IP address; use 127.0.0.1 or ::1", address);
        return -1;
    }
    int yes = 1, fd = socket(where.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (fd < 0 || bind(fd, (struct sockaddr *)&where, length) != 0 || listen(fd, LISTEN_BACKLOG) != 0 ||
        getsockname(fd, (struct sockaddr *)&where, &length) != 0) {
        snprintf(error, error_capacity, "listen: %s port %d: %s", address, *port, strerror(errno));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    *port = ntohs(where.ss_family == AF_INET ? ((struct sockaddr_in *)&where)->sin_port
                                             : ((struct sockaddr_in6 *)&where)->sin6_port);
    return fd;
}
