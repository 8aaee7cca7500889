/* The floor under any server of stored pages: it reads whatever comes and writes a
 * page of 4 KB with a head, and does nothing else. floor PORT, on 127.0.0.1. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv) {
	static char page[4096 + 512], in[16384];
	int one = 1, n = snprintf(page, 512,
		"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nCache-Control: public, max-age=3600\r\n"
		"Etag: \"0123456789abcdef\"\r\nDate: Wed, 29 Feb 2012 06:00:00 GMT\r\nContent-Length: 4096\r\n\r\n");
	memset(page + n, 'x', 4096);
	n += 4096;
	int l = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), ep = epoll_create1(0);
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(l, (struct sockaddr *)&at, sizeof at) || listen(l, 1024)) return 1;
	struct epoll_event e = {.events = EPOLLIN, .data.fd = l}, all[64];
	epoll_ctl(ep, EPOLL_CTL_ADD, l, &e);
	for (;;) {
		int ready = epoll_wait(ep, all, 64, -1);
		for (int i = 0; i < ready; i++) {
			int fd = all[i].data.fd;
			if (fd == l) {
				int c = accept4(l, NULL, NULL, SOCK_NONBLOCK);
				if (c < 0) continue;
				setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
				e.data.fd = c;
				e.events = EPOLLIN | EPOLLET;
				epoll_ctl(ep, EPOLL_CTL_ADD, c, &e);
			} else if (read(fd, in, sizeof in) <= 0 || write(fd, page, n) != n) {
				close(fd);
			}
		}
	}
}
