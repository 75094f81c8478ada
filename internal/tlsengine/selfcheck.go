package tlsengine

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"sync"
	"time"
)

// ModeEnv is an environment variable that forces the mode Copying, if it is "copying": should a version of Go break
// the mode InPlace in a way that the self-check does not find, a program need not be built again.
const ModeEnv = "POLLUX_TLS"

// CurrentMode returns the mode of Conns, and why it is Copying: ModeEnv, or what the self-check has found. The check
// runs once, at the first handshake or call. It takes about a millisecond.
func CurrentMode() (m Mode, reason error) {
	check.once.Do(func() {
		if check.err = forcedMode(os.Getenv(ModeEnv)); check.err == nil {
			check.err = selfCheck(layoutErr)
		}
	})
	if check.err != nil {
		return Copying, check.err
	}
	return InPlace, nil
}

// forcedMode returns why the mode is Copying if the value of ModeEnv demands it.
func forcedMode(value string) error {
	switch value {
	case "":
		return nil
	case "copying":
		return errors.New("TLS copies records: " + ModeEnv + "=copying is set")
	}
	return fmt.Errorf("TLS copies records: %s is %q, which is unknown; unset it, or set it to \"copying\"", ModeEnv, value)
}

var check struct {
	once sync.Once
	err  error
}

const checkTimeout = time.Minute

// selfCheck reports whether records can be decrypted in place: it does it, on connections in memory. A panic is
// a failure, too.
func selfCheck(layoutErr error) (err error) {
	if layoutErr != nil {
		return layoutErr
	}
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("self-check of TLS in place: panic: %v", v)
		}
	}()
	server, client, err := checkConfigs()
	if err != nil {
		return fmt.Errorf("self-check of TLS in place: %w", err)
	}
	for _, version := range []uint16{tls.VersionTLS13, tls.VersionTLS12} {
		server, client := server.Clone(), client.Clone()
		client.MaxVersion = version
		client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		for _, resumed := range []bool{false, true} {
			if err := checkPair(server, client, resumed); err != nil {
				return fmt.Errorf("self-check of TLS in place, version %#04x, resumed %v: %w", version, resumed, err)
			}
		}
	}
	return nil
}

func checkConfigs() (server, client *tls.Config, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"self-check.invalid"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	server = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	// The client is this function, and its server too: there is nobody to verify.
	client = &tls.Config{ServerName: "self-check.invalid", InsecureSkipVerify: true}
	return server, client, nil
}

// checkPair does a handshake, and sends records of several sizes in both directions, and close_notify.
func checkPair(server, client *tls.Config, resumed bool) error {
	s, c, err := pair(Options{Config: server, mode: InPlace}, Options{Config: client, mode: InPlace})
	if err != nil {
		return err
	}
	if got := c.ConnectionState().DidResume; got != resumed {
		return fmt.Errorf("a session was resumed: %v", got)
	}
	for _, n := range []int{1, 64, MaxPlaintextBytes, 2} {
		data := bytes.Repeat([]byte{byte(n), 1, 2, 3, 4, 5, 6}, n/7+1)[:n]
		for _, way := range [][2]*Conn{{s, c}, {c, s}} {
			if err := checkData(way[0], way[1], data); err != nil {
				return fmt.Errorf("%d bytes: %w", n, err)
			}
		}
	}
	for _, way := range [][2]*Conn{{s, c}, {c, s}} {
		if _, err := way[1].receiveAll(way[0].CloseNotify(nil)); err != io.EOF {
			return fmt.Errorf("after close_notify: %w", err)
		}
	}
	return nil
}

func checkData(from, to *Conn, data []byte) error {
	records, err := from.Send(nil, data)
	if err != nil {
		return err
	}
	got, err := to.receiveAll(records)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, data) {
		return errors.New("the plaintext differs")
	}
	if f := fieldsOf(to.tls); f.rawInput.Cap() != 0 || f.hand.Cap() != 0 || f.input.Size() != 0 {
		return errors.New("a buffer is left")
	}
	return nil
}

// receiveAll receives whole records, and returns their plaintext.
func (c *Conn) receiveAll(records []byte) (plain []byte, err error) {
	for len(records) > 0 {
		n, _ := c.Next(records)
		if n == 0 {
			return plain, io.ErrUnexpectedEOF
		}
		p, err := c.Receive(records[:n])
		plain = append(plain, p...)
		if err != nil {
			return plain, err
		}
		records = records[n:]
	}
	return plain, nil
}

// pair returns two Conns whose handshake with each other is done.
func pair(server, client Options) (s, c *Conn, err error) {
	news := make(chan struct{}, 1)
	notify := func() {
		select {
		case news <- struct{}{}:
		default:
		}
	}
	server.Notify, client.Notify, client.Client = notify, notify, true
	server.Timeout, client.Timeout = checkTimeout, checkTimeout
	var conns [2]*Conn
	for i, o := range []Options{server, client} {
		if conns[i], err = New(o); err != nil {
			return nil, nil, err
		}
	}
	defer func() {
		if err != nil {
			conns[0].Abort(err)
			conns[1].Abort(err)
		}
	}()
	for _, conn := range conns {
		if err := conn.Start(); err != nil {
			return nil, nil, err
		}
	}
	if err := introduce(&conns, news); err != nil {
		return nil, nil, err
	}
	return conns[0], conns[1], nil
}

// introduce passes on the bytes of two handshakes until both are done.
func introduce(conns *[2]*Conn, news <-chan struct{}) error {
	var done [2]bool
	for !done[0] || !done[1] {
		<-news
		for i, conn := range conns {
			if done[i] {
				continue
			}
			p := conn.Step(nil)
			if p.Err != nil {
				return p.Err
			}
			done[i] = p.Done
			if _, err := conn.receiveAll(p.Unread); err != nil {
				return err
			}
			if other := 1 - i; !done[other] {
				conns[other].Feed(p.Output)
			} else if _, err := conns[other].receiveAll(p.Output); err != nil {
				return err
			}
		}
	}
	return nil
}
