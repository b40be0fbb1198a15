// The textbook chat in Go: a hub goroutine owns the clients, each client has a channel of lines to write. A line goes
// to everyone else as the same bytes; who reads too slowly is dropped.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"log"
	"net"
)

// Lines that may wait for one client.
const queueLines = 1024

// The longest line, with its end.
const lineMaxBytes = 64 * 1024

type client struct {
	conn net.Conn
	// Closed by the hub, and only there.
	lines chan []byte
}

type said struct {
	by   *client
	line []byte
}

type hub struct {
	joins  chan *client
	leaves chan *client
	says   chan said
}

func (h *hub) run() {
	clients := make(map[*client]struct{})
	drop := func(c *client) {
		if _, in := clients[c]; in {
			delete(clients, c)
			close(c.lines)
		}
	}
	for {
		select {
		case c := <-h.joins:
			clients[c] = struct{}{}
		case c := <-h.leaves:
			drop(c)
		case s := <-h.says:
			for c := range clients {
				if c == s.by {
					continue
				}
				select {
				case c.lines <- s.line:
				default:
					// Wakes a writer that is stuck in a write, too.
					c.conn.Close()
					drop(c)
				}
			}
		}
	}
}

func (h *hub) read(c *client) {
	defer func() { h.leaves <- c }()
	scanner := bufio.NewScanner(c.conn)
	scanner.Buffer(make([]byte, 0, 4096), lineMaxBytes)
	for scanner.Scan() {
		line := scanner.Bytes()
		// The scanner uses its buffer again.
		copied := make([]byte, len(line)+1)
		copy(copied, line)
		copied[len(line)] = '\n'
		h.says <- said{c, copied}
	}
}

func write(c *client) {
	defer c.conn.Close()
	for line := range c.lines {
		if _, err := c.conn.Write(line); err != nil {
			return
		}
	}
}

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	flag.Parse()
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	h := &hub{make(chan *client), make(chan *client), make(chan said)}
	go h.run()
	fmt.Printf("{\"line\":[%q],\"http\":[],\"unix\":[]}\n", listener.Addr().String())
	for {
		conn, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		c := &client{conn, make(chan []byte, queueLines)}
		h.joins <- c
		go h.read(c)
		go write(c)
	}
}
