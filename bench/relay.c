/* The plainest relay there is: accept, connect to the target, copy bytes both ways. No parsing, no policy, no record.
 * The baseline that says what any user-space process on the path must cost.
 *
 *     cc -O2 -o relay relay.c && ./relay LISTEN_PORT TARGET_PORT        (both on 127.0.0.1)
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER = 1 << 16, EVENTS = 64 };

/* One direction's unsent bytes live with the socket they go to. */
struct side {
    int fd;
    struct side *other;
    size_t start, end;
    char buffer[BUFFER];
};

static int poller;

static void watch(struct side *side, uint32_t events, int operation)
{
    struct epoll_event event = {.events = events, .data.ptr = side};
    epoll_ctl(poller, operation, side->fd, &event);
}

static void close_both(struct side *side)
{
    close(side->fd);
    close(side->other->fd);
    side->fd = side->other->fd = -1;
}

/* Writes what waits for `side`; reads from the other side only while nothing waits. 0: the pair is gone. */
static int flush(struct side *side)
{
    while (side->start < side->end) {
        ssize_t sent = send(side->fd, side->buffer + side->start, side->end - side->start, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno != EAGAIN) {
                close_both(side);
                return 0;
            }
            watch(side, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
            watch(side->other, EPOLLOUT, EPOLL_CTL_MOD);
            return 1;
        }
        side->start += sent;
    }
    side->start = side->end = 0;
    return 1;
}

static void readable(struct side *side)
{
    struct side *to = side->other;
    if (to->end)
        return;
    ssize_t got = recv(side->fd, to->buffer, BUFFER, 0);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN)
            close_both(side);
        return;
    }
    to->end = got;
    flush(to);
}

static void writable(struct side *side)
{
    if (flush(side) && !side->end) {
        watch(side, EPOLLIN, EPOLL_CTL_MOD);
        watch(side->other, EPOLLIN, EPOLL_CTL_MOD);
    }
}

static struct sockaddr_in loopback(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static void accept_one(int listener, int target_port)
{
    int client = accept(listener, NULL, NULL);
    if (client < 0)
        return;
    int target = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in address = loopback(target_port);
    if (connect(target, (struct sockaddr *)&address, sizeof address) < 0) {
        close(client);
        close(target);
        return;
    }
    struct side *pair = calloc(2, sizeof *pair);
    int sockets[2] = {client, target};
    for (int index = 0; index < 2; index++) {
        pair[index].fd = sockets[index];
        pair[index].other = &pair[1 - index];
        setsockopt(sockets[index], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        fcntl(sockets[index], F_SETFL, O_NONBLOCK);
        watch(&pair[index], EPOLLIN, EPOLL_CTL_ADD);
    }
}

int main(int count, char **arguments)
{
    if (count != 3)
        return fprintf(stderr, "usage: relay LISTEN_PORT TARGET_PORT\n"), 2;
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in address = loopback(atoi(arguments[1]));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 128) < 0)
        return perror("relay"), 1;
    poller = epoll_create1(0);
    struct side entrance = {.fd = listener};
    watch(&entrance, EPOLLIN, EPOLL_CTL_ADD);
    for (;;) {
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(poller, events, EVENTS, -1);
        for (int index = 0; index < ready; index++) {
            struct side *side = events[index].data.ptr;
            if (side == &entrance)
                accept_one(listener, atoi(arguments[2]));
            else if (side->fd >= 0 && events[index].events & EPOLLOUT)
                writable(side);
            else if (side->fd >= 0)
                readable(side);
        }
    }
}
