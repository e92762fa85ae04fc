// Command oracle answers questions about SKB1 from code that shares nothing with ours: gtank/ristretto255 and Go's own
// HKDF, AES-GCM and HPKE. One question a line on standard input, words in hexadecimal; one answer a line, "-" if refused.
package main

import (
	"bufio"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hpke"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"

	ristretto "github.com/gtank/ristretto255"
)

// Offsets in a capsule, docs/skb1.md 6.4.
const (
	wAt          = 42
	commitmentAt = wAt + 32
	ciphertextAt = commitmentAt + 32
)

// encapsulatedBytes is what X-Wing adds in front of a ciphertext.
const encapsulatedBytes = 1120

var questions = map[string]func(words [][]byte) ([]byte, error){
	"decode": func(w [][]byte) ([]byte, error) { return encode(point(w[0])) },
	"base":   func(w [][]byte) ([]byte, error) { return multiply(w[0], nil) },
	"mul":    func(w [][]byte) ([]byte, error) { return multiply(w[0], w[1]) },
	"open":   func(w [][]byte) ([]byte, error) { return openCapsule(w[0], w[1], w[2], w[3]) },
	"close":  func(w [][]byte) ([]byte, error) { return closeCapsule(w[0], w[1], w[2], w[3], w[4], w[5]) },
	"public": func(w [][]byte) ([]byte, error) { return publicKey(w[0]) },
	"unwrap": func(w [][]byte) ([]byte, error) { return openEnvelope(w[0], w[1], w[2], w[3]) },
	"wrap":   func(w [][]byte) ([]byte, error) { return sealEnvelope(w[0], w[1], w[2], w[3]) },
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		answer, err := answer(strings.Split(lines.Text(), " "))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			fmt.Println("-")
			continue
		}
		fmt.Println(hex.EncodeToString(answer))
	}
}

func answer(words []string) ([]byte, error) {
	question, known := questions[words[0]]
	if !known {
		return nil, fmt.Errorf("no such question: %s", words[0])
	}
	var arguments [][]byte
	for _, word := range words[1:] {
		bytes, err := hex.DecodeString(word)
		if err != nil {
			return nil, err
		}
		arguments = append(arguments, bytes)
	}
	return question(arguments)
}

func point(bytes []byte) (*ristretto.Element, error) {
	point := ristretto.NewElement()
	return point, point.Decode(bytes)
}

func encode(point *ristretto.Element, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return point.Encode(nil), nil
}

// multiply gives scalar·bytes, or scalar·G.
func multiply(scalar, bytes []byte) ([]byte, error) {
	factor := ristretto.NewScalar()
	if err := factor.Decode(scalar); err != nil {
		return nil, err
	}
	if bytes == nil {
		return ristretto.NewElement().ScalarBaseMult(factor).Encode(nil), nil
	}
	base, err := point(bytes)
	if err != nil {
		return nil, err
	}
	return base.ScalarMult(factor, base).Encode(nil), nil
}

// derive gives the one-message cipher and the commitment of a capsule: HKDF(salt K_capsule, S).
func derive(shared, key, context []byte) (cipher.AEAD, []byte, error) {
	length := binary.BigEndian.AppendUint16(nil, uint16(len(context)))
	info := "SKB1/capsule" + string(length) + string(context)
	okm, err := hkdf.Key(sha512.New, shared, key, info, 64)
	if err != nil {
		return nil, nil, err
	}
	block, err := aes.NewCipher(okm[:32])
	if err != nil {
		return nil, nil, err
	}
	gcm, err := cipher.NewGCM(block)
	return gcm, okm[32:], err
}

// openCapsule needs both halves: the remote's k and the broker's K_capsule.
func openCapsule(k, key, context, capsule []byte) ([]byte, error) {
	shared, err := multiply(k, capsule[wAt:commitmentAt])
	if err != nil {
		return nil, err
	}
	gcm, commitment, err := derive(shared, key, context)
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare(commitment, capsule[commitmentAt:ciphertextAt]) != 1 {
		return nil, errors.New("commitment")
	}
	return gcm.Open(nil, make([]byte, 12), capsule[ciphertextAt:], context)
}

// closeCapsule appends w, commitment and ciphertext to the header.
func closeCapsule(r, y, key, context, header, kek []byte) ([]byte, error) {
	w, err := multiply(r, nil)
	if err != nil {
		return nil, err
	}
	shared, err := multiply(r, y)
	if err != nil {
		return nil, err
	}
	gcm, commitment, err := derive(shared, key, context)
	if err != nil {
		return nil, err
	}
	capsule := append(append(header, w...), commitment...)
	return gcm.Seal(capsule, make([]byte, 12), kek, context), nil
}

func publicKey(seed []byte) ([]byte, error) {
	private, err := hpke.MLKEM768X25519().NewPrivateKey(seed)
	if err != nil {
		return nil, err
	}
	return private.PublicKey().Bytes(), nil
}

// openEnvelope opens the encapsulated key followed by the ciphertext.
func openEnvelope(seed, info, aad, envelope []byte) ([]byte, error) {
	private, err := hpke.MLKEM768X25519().NewPrivateKey(seed)
	if err != nil {
		return nil, err
	}
	if len(envelope) < encapsulatedBytes {
		return nil, errors.New("length")
	}
	encapsulated, ciphertext := envelope[:encapsulatedBytes], envelope[encapsulatedBytes:]
	recipient, err := hpke.NewRecipient(encapsulated, private, hpke.HKDFSHA512(), hpke.AES256GCM(), info)
	if err != nil {
		return nil, err
	}
	return recipient.Open(aad, ciphertext)
}

func sealEnvelope(public, info, aad, plaintext []byte) ([]byte, error) {
	key, err := hpke.MLKEM768X25519().NewPublicKey(public)
	if err != nil {
		return nil, err
	}
	encapsulated, sender, err := hpke.NewSender(key, hpke.HKDFSHA512(), hpke.AES256GCM(), info)
	if err != nil {
		return nil, err
	}
	ciphertext, err := sender.Seal(aad, plaintext)
	return append(encapsulated, ciphertext...), err
}
