// gorilla/websocket, as its own chat example does it: a hub, and two pumps for each client; here with a hub for each path.
// Its queue of 256 messages is kept too: who has not taken them when one more comes is dropped.
package main

import (
	"bytes"
	"flag"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	writeWait       = 10 * time.Second
	pongWait        = 60 * time.Second
	pingPeriod      = pongWait * 9 / 10
	maxMessageBytes = 65536 // the example's 512 are too few for some workloads
	queuedMessages  = 256
	writeBytes      = 65536 // all that is queued, in one frame; the example's 1024 would make fragments of it
)

var (
	newline  = []byte{'\n'}
	space    = []byte{' '}
	upgrader = websocket.Upgrader{
		ReadBufferSize: 1024, WriteBufferSize: writeBytes, WriteBufferPool: &sync.Pool{},
	}
)

// hub owns who is in a room; nobody else touches it.
type hub struct {
	clients    map[*client]bool
	broadcast  chan []byte
	register   chan *client
	unregister chan *client
}

func newHub() *hub {
	return &hub{make(map[*client]bool), make(chan []byte), make(chan *client), make(chan *client)}
}

func (h *hub) run() {
	for {
		select {
		case c := <-h.register:
			h.clients[c] = true
		case c := <-h.unregister:
			h.drop(c)
		case message := <-h.broadcast:
			for c := range h.clients {
				select {
				case c.send <- message:
				default:
					h.drop(c)
				}
			}
		}
	}
}

func (h *hub) drop(c *client) {
	if h.clients[c] {
		delete(h.clients, c)
		close(c.send)
	}
}

type client struct {
	hub  *hub
	conn *websocket.Conn
	send chan []byte
}

func (c *client) readPump() {
	defer func() {
		c.hub.unregister <- c
		c.conn.Close()
	}()
	c.conn.SetReadLimit(maxMessageBytes)
	c.conn.SetReadDeadline(time.Now().Add(pongWait))
	c.conn.SetPongHandler(func(string) error { return c.conn.SetReadDeadline(time.Now().Add(pongWait)) })
	for {
		_, message, err := c.conn.ReadMessage()
		if err != nil {
			return
		}
		c.hub.broadcast <- bytes.TrimSpace(bytes.ReplaceAll(message, newline, space))
	}
}

func (c *client) writePump() {
	ticker := time.NewTicker(pingPeriod)
	defer func() {
		ticker.Stop()
		c.conn.Close()
	}()
	for {
		select {
		case message, open := <-c.send:
			if !open {
				c.conn.SetWriteDeadline(time.Now().Add(writeWait))
				c.conn.WriteMessage(websocket.CloseMessage, nil)
				return
			}
			if c.write(message) != nil {
				return
			}
		case <-ticker.C:
			c.conn.SetWriteDeadline(time.Now().Add(writeWait))
			if c.conn.WriteMessage(websocket.PingMessage, nil) != nil {
				return
			}
		}
	}
}

// write sends the message and what else is queued as one WebSocket message, a line for each.
func (c *client) write(message []byte) error {
	c.conn.SetWriteDeadline(time.Now().Add(writeWait))
	w, err := c.conn.NextWriter(websocket.TextMessage)
	if err != nil {
		return err
	}
	w.Write(message)
	for more := len(c.send); more > 0; more-- {
		w.Write(newline)
		w.Write(<-c.send)
	}
	return w.Close()
}

// hubs are the rooms, by path.
type hubs struct {
	sync.Mutex
	of map[string]*hub
}

func (rooms *hubs) at(path string) *hub {
	rooms.Lock()
	defer rooms.Unlock()
	if rooms.of[path] == nil {
		rooms.of[path] = newHub()
		go rooms.of[path].run()
	}
	return rooms.of[path]
}

func (rooms *hubs) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	c := &client{rooms.at(r.URL.Path), conn, make(chan []byte, queuedMessages)}
	c.hub.register <- c
	go c.writePump()
	go c.readPump()
}

func main() {
	port := flag.String("port", "", "to listen on")
	flag.Parse()
	rooms := &hubs{of: make(map[string]*hub)}
	log.Fatal(http.ListenAndServe(net.JoinHostPort("127.0.0.1", *port), rooms))
}
