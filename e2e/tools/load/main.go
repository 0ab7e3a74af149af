// kube-lvs-load sends a bounded number of requests to one address and prints one JSON object about what came back.
//
// A request is an HTTP GET on a new TCP connection (or on a kept one with -keepalive), or one UDP datagram; the answer is
// one line "RESPONDER OWN_ADDRESS CLIENT_ADDRESS" (the tests' web server). Nothing is ever tried again: a request without a
// whole, correct answer in time is counted as failed. Exit status: 0 none failed, 1 some failed or none was sent, 2 bad usage.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

const usage = `usage: kube-lvs-load [flags] ADDRESS:PORT

Sends -n requests or, with -n 0, for -duration; prints JSON: total, failed, errors, responders, destinations, clients,
latency_ms {p50, p90, p99, max}, longest_gap_ms (between two successes, counting start and end), seconds.

`

type options struct {
	target, proto, path string
	count               int
	rate                float64
	duration, timeout   time.Duration
	inFlight            int
	keepalive           bool
	sources             []net.IP
}

type outcome struct {
	end                            time.Time
	latency                        time.Duration
	responder, destination, client string
	err                            error
}

type report struct {
	Target       string             `json:"target"`
	Proto        string             `json:"proto"`
	Total        int                `json:"total"`
	Failed       int                `json:"failed"`
	Errors       map[string]int     `json:"errors"`
	Responders   map[string]int     `json:"responders"`
	Destinations map[string]int     `json:"destinations"`
	Clients      map[string]int     `json:"clients"`
	Latency      map[string]float64 `json:"latency_ms"`
	LongestGap   float64            `json:"longest_gap_ms"`
	Seconds      float64            `json:"seconds"`
}

func main() {
	o, err := parse()
	if err != nil {
		fmt.Fprintln(os.Stderr, "kube-lvs-load:", err)
		os.Exit(2)
	}
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, syscall.SIGINT, syscall.SIGTERM)
	start := time.Now()
	outcomes := run(o, start, interrupted)
	r := summarize(o, start, time.Now(), outcomes)
	text, err := json.MarshalIndent(r, "", "  ")
	fmt.Println(string(text))
	if err != nil || r.Failed > 0 || r.Total == 0 {
		os.Exit(1)
	}
}

func parse() (options, error) {
	var o options
	var sources string
	flag.StringVar(&o.proto, "proto", "http", "http or udp")
	flag.IntVar(&o.count, "n", 0, "number of requests; 0: until -duration")
	flag.Float64Var(&o.rate, "rate", 0, "requests begun per second; 0: as fast as -c allows")
	flag.DurationVar(&o.duration, "duration", 0, "begin no request after this time; 0: until -n")
	flag.DurationVar(&o.timeout, "timeout", 2*time.Second, "of one request, connecting included")
	flag.IntVar(&o.inFlight, "c", 1, "most requests at a time; with -keepalive also the number of connections")
	flag.BoolVar(&o.keepalive, "keepalive", false, "http: send many requests on each connection; a broken one is opened anew for the next request")
	flag.StringVar(&o.path, "path", "/", "http: what to GET")
	flag.StringVar(&sources, "source", "", "own addresses to send from, in turn: A,B,...")
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), usage)
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 1 {
		return o, errors.New("want one ADDRESS:PORT (see -help)")
	}
	o.target = flag.Arg(0)
	if _, _, err := net.SplitHostPort(o.target); err != nil {
		return o, fmt.Errorf("target %q: %v", o.target, err)
	}
	for _, text := range strings.FieldsFunc(sources, func(r rune) bool { return r == ',' }) {
		ip := net.ParseIP(text)
		if ip == nil {
			return o, fmt.Errorf("-source: %q is not an address", text)
		}
		o.sources = append(o.sources, ip)
	}
	switch {
	case o.proto != "http" && o.proto != "udp":
		return o, fmt.Errorf("-proto %q: want http or udp", o.proto)
	case o.proto == "udp" && o.keepalive:
		return o, errors.New("-keepalive is for http")
	case o.count < 0 || o.duration < 0 || o.rate < 0:
		return o, errors.New("-n, -duration and -rate must not be negative")
	case o.count == 0 && o.duration == 0:
		return o, errors.New("give -n or -duration, or the run never ends")
	case o.inFlight < 1 || o.timeout <= 0:
		return o, errors.New("-c must be at least 1 and -timeout more than 0")
	case !strings.HasPrefix(o.path, "/"):
		return o, fmt.Errorf("-path %q: must begin with /", o.path)
	}
	return o, nil
}

// run begins the requests in order, at the wanted rate, on a fixed set of workers, and waits for all that were begun.
func run(o options, start time.Time, interrupted <-chan os.Signal) []outcome {
	numbers, results := make(chan int), make(chan outcome, o.inFlight)
	var workers sync.WaitGroup
	for range o.inFlight {
		workers.Go(func() {
			var c connection
			defer c.drop()
			for n := range numbers {
				results <- c.request(o, n)
			}
		})
	}
	go func() {
		defer func() {
			close(numbers)
			workers.Wait()
			close(results)
		}()
		over := make(<-chan time.Time)
		if o.duration > 0 {
			over = time.After(o.duration)
		}
		for n := 0; o.count == 0 || n < o.count; n++ {
			due, next := make(<-chan time.Time), numbers
			if o.rate > 0 {
				due, next = time.After(time.Until(start.Add(time.Duration(float64(n)/o.rate*float64(time.Second))))), nil
			}
			for sent := false; !sent; {
				select {
				case <-due:
					next = numbers
				case next <- n:
					sent = true
				case <-over:
					return
				case <-interrupted:
					return
				}
			}
		}
	}()
	var all []outcome
	for r := range results {
		all = append(all, r)
	}
	return all
}

// connection is what one worker keeps between two requests: with -keepalive its open connection, else nothing.
type connection struct {
	conn   net.Conn
	reader *bufio.Reader
}

func (c *connection) drop() {
	if c.conn != nil {
		c.conn.Close()
	}
	*c = connection{}
}

func (c *connection) request(o options, number int) outcome {
	begun := time.Now()
	line, err := c.exchange(o, number, begun.Add(o.timeout))
	if err != nil || !o.keepalive {
		c.drop()
	}
	result := outcome{end: time.Now(), latency: time.Since(begun), err: err}
	if err != nil {
		return result
	}
	var client string
	if n, _ := fmt.Sscan(line, &result.responder, &result.destination, &client); n != 3 {
		result.err = errors.New("answer is not RESPONDER OWN CLIENT")
	} else if result.client, _, err = net.SplitHostPort(client); err != nil {
		result.err = errors.New("answer names no client address")
	}
	return result
}

func (c *connection) exchange(o options, number int, deadline time.Time) (string, error) {
	if c.conn == nil {
		dialer := net.Dialer{Deadline: deadline, FallbackDelay: -1}
		network := "udp"
		if o.proto == "http" {
			network = "tcp"
		}
		if len(o.sources) > 0 {
			dialer.LocalAddr = &net.TCPAddr{IP: o.sources[number%len(o.sources)]}
			if o.proto == "udp" {
				dialer.LocalAddr = &net.UDPAddr{IP: o.sources[number%len(o.sources)]}
			}
		}
		conn, err := dialer.Dial(network, o.target)
		if err != nil {
			return "", err
		}
		c.conn, c.reader = conn, bufio.NewReaderSize(conn, 65536)
	}
	if err := c.conn.SetDeadline(deadline); err != nil {
		return "", err
	}
	if o.proto == "udp" {
		if _, err := fmt.Fprintf(c.conn, "%d\n", number); err != nil {
			return "", err
		}
		return c.reader.ReadString('\n')
	}
	closing := "Connection: close\r\n"
	if o.keepalive {
		closing = ""
	}
	if _, err := fmt.Fprintf(c.conn, "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", o.path, o.target, closing); err != nil {
		return "", err
	}
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(response.Body)
	response.Body.Close()
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("HTTP status %d", response.StatusCode)
	}
	return string(body), err
}

func summarize(o options, start, end time.Time, outcomes []outcome) report {
	r := report{Target: o.target, Proto: o.proto, Total: len(outcomes), Errors: map[string]int{},
		Responders: map[string]int{}, Destinations: map[string]int{}, Clients: map[string]int{}, Latency: map[string]float64{}, Seconds: end.Sub(start).Seconds()}
	slices.SortFunc(outcomes, func(a, b outcome) int { return a.end.Compare(b.end) })
	last := start
	gap := func(until time.Time) { r.LongestGap = max(r.LongestGap, milliseconds(until.Sub(last))) }
	var taken []time.Duration
	for _, one := range outcomes {
		if one.err != nil {
			r.Failed++
			r.Errors[reason(one.err)]++
			continue
		}
		gap(one.end)
		last = one.end
		r.Responders[one.responder]++
		r.Destinations[one.destination]++
		r.Clients[one.client]++
		taken = append(taken, one.latency)
	}
	gap(end)
	slices.Sort(taken)
	for name, share := range map[string]float64{"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1} {
		if len(taken) > 0 {
			r.Latency[name] = milliseconds(taken[int(share*float64(len(taken)-1))])
		}
	}
	return r
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// reason groups errors that differ only in their port numbers.
func reason(err error) string {
	var number syscall.Errno
	var op *net.OpError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection closed before a whole answer"
	case errors.As(err, &op) && op.Timeout():
		return op.Op + ": timeout"
	case errors.As(err, &op) && errors.As(err, &number):
		return op.Op + ": " + number.Error()
	}
	return err.Error()
}
