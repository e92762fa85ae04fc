// Package conformance runs HashiCorp's Go client library, unmodified, against a broker.
//
// The External Secrets Operator's vault provider embeds this library; the calls here are those that the provider makes, with the
// same functions. The Rust side (tests/src/go.rs) starts the broker, sets up its logins, and hands everything over in the
// environment. The stories run in order on the one broker: the last of them seals it and opens it again.
package conformance

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	vault "github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/api/auth/approle"
	"github.com/hashicorp/vault/api/auth/kubernetes"
)

// Mount of the secrets.
const mount = "secret"

func TestVaultLibrary(t *testing.T) {
	stories := []struct {
		name string
		tell func(*testing.T)
	}{
		{"a certificate of another CA is refused", foreignCertificate},
		{"kubernetes login gives a batch token that looks itself up", machineLogin},
		{"a refused login is an error with a status", refusedLogin},
		{"a machine reads, and only what it may", machineReads},
		{"absent, deleted and destroyed are told apart", absence},
		{"what is missing but the secret is an error", missing},
		{"lists are complete and stop at folders", lists},
		{"a push writes metadata first and then checks versions", push},
		{"a delete of what is absent succeeds", deletes},
		{"a service token revokes itself", revokeSelf},
		{"a sealed broker is down, never empty", sealed},
	}
	for _, story := range stories {
		if !t.Run(story.name, story.tell) {
			t.FailNow() // the later ones build on it
		}
	}
}

// given is a variable that the Rust side sets.
func given(t *testing.T, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Fatalf("%s is not set; run this by `cargo test -p symbolon-tests go::`, which starts a broker for it", name)
	}
	return value
}

func background(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// exchange is one request as the library sent it and its answer's status.
type exchange struct {
	method, target, contentType, protocol string
	status                                int
}

// wire notes what passes through a client.
type wire struct {
	under http.RoundTripper
	seen  []exchange
}

func (w *wire) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := w.under.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	w.seen = append(w.seen, exchange{
		request.Method, request.URL.RequestURI(), request.Header.Get("Content-Type"), response.Proto, response.StatusCode,
	})
	return response, nil
}

func (w *wire) last(t *testing.T) exchange {
	t.Helper()
	if len(w.seen) == 0 {
		t.Fatal("nothing was sent")
	}
	return w.seen[len(w.seen)-1]
}

// expect says how the last call must have gone over the wire. Nothing that the library sends has a Content-Type.
func (w *wire) expect(t *testing.T, method, target string, status int) {
	t.Helper()
	want := exchange{method, "/v1/" + target, "", "HTTP/2.0", status}
	if got := w.last(t); got != want {
		t.Fatalf("on the wire: got %+v, want %+v", got, want)
	}
}

// connect makes a client as the provider does: the library's defaults, a CA, and no token. Two retries, as ESO has them, unless told.
func connect(t *testing.T) (*vault.Client, *wire) {
	t.Helper()
	config := vault.DefaultConfig()
	if config.Error != nil {
		t.Fatal(config.Error)
	}
	config.Address = given(t, "SYMBOLON_ADDR")
	if err := config.ConfigureTLS(&vault.TLSConfig{CACert: given(t, "SYMBOLON_CACERT")}); err != nil {
		t.Fatal(err)
	}
	tap := &wire{under: config.HttpClient.Transport}
	config.HttpClient.Transport = tap
	client, err := vault.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	client.ClearToken() // nothing from the environment
	return client, tap
}

// machine logs in as a pod does.
func machine(t *testing.T) (*vault.Client, *wire, *vault.Secret) {
	t.Helper()
	client, tap := connect(t)
	login, err := kubernetes.NewKubernetesAuth("reader", kubernetes.WithServiceAccountToken(given(t, "SYMBOLON_JWT")))
	if err != nil {
		t.Fatal(err)
	}
	secret, err := client.Auth().Login(background(t), login)
	if err != nil {
		t.Fatal(err)
	}
	return client, tap, secret
}

// application logs in with an AppRole, whose tokens are service tokens and may write.
func application(t *testing.T) (*vault.Client, *wire, *vault.Secret) {
	t.Helper()
	client, tap := connect(t)
	secretID := &approle.SecretID{FromString: given(t, "SYMBOLON_SECRET_ID")}
	login, err := approle.NewAppRoleAuth(given(t, "SYMBOLON_ROLE_ID"), secretID)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := client.Auth().Login(background(t), login)
	if err != nil {
		t.Fatal(err)
	}
	return client, tap, secret
}

// refusal wants an error of the library with this status.
func refusal(t *testing.T, err error, status int) *vault.ResponseError {
	t.Helper()
	var answer *vault.ResponseError
	if !errors.As(err, &answer) {
		t.Fatalf("got %v, want an answer with status %d", err, status)
	}
	if answer.StatusCode != status || answer.RawError || len(answer.Errors) == 0 {
		t.Fatalf("got %+v, want status %d with error texts", answer, status)
	}
	return answer
}

func shares(t *testing.T) []string {
	return strings.Fields(given(t, "SYMBOLON_SHARES"))
}
