// web answers every HTTP request and every UDP datagram on PORT with one line:
//
//	HOSTNAME OWN_ADDRESS:PORT CLIENT_ADDRESS:PORT
//
// the machine that answers, the address the request was sent to, and the client as this server sees it. So a test can
// tell which real server answered, that the VIP arrived unchanged (DirectRouting, Tunnel), and whether the source was.
//
// /hold?seconds=N answers after N seconds: a connection that stays active. /healthz answers 503 once SIGTERM came.
// SIGTERM or SIGINT: go on serving for DRAIN_SECONDS (default 0), then stop listening, finish what was begun, end.
// Environment: PORT (default 8080), DRAIN_SECONDS.
package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	log.SetFlags(0)
	port := number("PORT", 8080)
	drain := time.Duration(number("DRAIN_SECONDS", 0)) * time.Second
	host, err := os.Hostname()
	if err != nil {
		log.Fatalf("hostname: %v", err)
	}
	ended, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()

	udp := 0
	for _, network := range []string{"udp4", "udp6"} {
		conn, err := net.ListenUDP(network, &net.UDPAddr{Port: port})
		if err != nil {
			log.Printf("%s port %d: %v", network, port, err)
			continue
		}
		if err := wantDestination(conn, network); err != nil {
			log.Fatalf("%s port %d: %v", network, port, err)
		}
		udp++
		go echo(conn, host, port)
	}
	if udp == 0 {
		log.Fatalf("no UDP socket on port %d", port)
	}

	var ending atomic.Bool
	server := &http.Server{Addr: fmt.Sprintf(":%d", port), Handler: handler(host, &ending)}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	log.Printf("%s serves HTTP and UDP on port %d", host, port)

	select {
	case err := <-failed:
		log.Fatalf("HTTP: %v", err)
	case <-ended.Done():
	}
	ending.Store(true)
	time.Sleep(drain)
	if err := server.Shutdown(context.Background()); err != nil {
		log.Fatalf("shutdown: %v", err)
	}
}

func number(name string, otherwise int) int {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	value, err := strconv.Atoi(text)
	if err != nil || value < 0 || value > 65535 {
		log.Fatalf("%s=%s: want a number from 0 to 65535", name, text)
	}
	return value
}

func handler(host string, ending *atomic.Bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/healthz":
			if ending.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		case "/hold":
			seconds, err := strconv.ParseFloat(r.URL.Query().Get("seconds"), 64)
			if err != nil || seconds < 0 {
				http.Error(w, "want /hold?seconds=N", http.StatusBadRequest)
				return
			}
			select {
			case <-time.After(time.Duration(seconds * float64(time.Second))):
			case <-r.Context().Done():
				return
			}
		}
		own, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		fmt.Fprintf(w, "%s %v %s\n", host, own, r.RemoteAddr)
	})
}

// wantDestination asks the kernel for the address each datagram was sent to: behind a VIP the reply must come from it.
func wantDestination(conn *net.UDPConn, network string) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		if network == "udp4" {
			failed = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, syscall.IP_PKTINFO, 1)
		} else {
			failed = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IPV6, syscall.IPV6_RECVPKTINFO, 1)
		}
	})
	if err != nil {
		return err
	}
	return failed
}

func echo(conn *net.UDPConn, host string, port int) {
	payload, control := make([]byte, 65536), make([]byte, 256)
	for {
		_, n, _, client, err := conn.ReadMsgUDP(payload, control)
		if err != nil {
			log.Fatalf("UDP: %v", err)
		}
		own, reply := destination(control[:n])
		line := fmt.Sprintf("%s %s %s\n", host, net.JoinHostPort(own.String(), strconv.Itoa(port)), client)
		if _, _, err := conn.WriteMsgUDP([]byte(line), reply, client); err != nil {
			log.Printf("UDP to %s: %v", client, err)
		}
	}
}

// destination returns the address a datagram was sent to and the control message that sends its answer from there by
// whatever interface routing chooses (struct in_pktinfo and in6_pktinfo of ip(7) and ipv6(7)).
func destination(control []byte) (net.IP, []byte) {
	messages, err := syscall.ParseSocketControlMessage(control)
	if err != nil {
		return nil, nil
	}
	for _, m := range messages {
		switch {
		case m.Header.Level == syscall.IPPROTO_IP && m.Header.Type == syscall.IP_PKTINFO && len(m.Data) >= 12:
			own := m.Data[8:12]
			data := make([]byte, 12)
			copy(data[4:8], own)
			return net.IP(own), controlMessage(m.Header.Level, m.Header.Type, data)
		case m.Header.Level == syscall.IPPROTO_IPV6 && m.Header.Type == syscall.IPV6_PKTINFO && len(m.Data) >= 20:
			own := net.IP(m.Data[:16])
			data := make([]byte, 20)
			copy(data, own)
			if own.IsLinkLocalUnicast() { // routing cannot choose for these
				copy(data[16:], m.Data[16:20])
			}
			return own, controlMessage(m.Header.Level, m.Header.Type, data)
		}
	}
	return nil, nil
}

func controlMessage(level, kind int32, data []byte) []byte {
	message := make([]byte, syscall.CmsgSpace(len(data)))
	binary.NativeEndian.PutUint64(message, uint64(syscall.CmsgLen(len(data))))
	binary.NativeEndian.PutUint32(message[8:], uint32(level))
	binary.NativeEndian.PutUint32(message[12:], uint32(kind))
	copy(message[syscall.CmsgLen(0):], data)
	return message
}
