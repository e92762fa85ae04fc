package conformance

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	vault "github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/api/auth/kubernetes"
)

func foreignCertificate(t *testing.T) {
	client, _ := connect(t)
	strict := vault.DefaultConfig() // the machine's own CAs
	strict.Address = client.Address()
	strict.MaxRetries = 0
	stranger, err := vault.NewClient(strict)
	if err != nil {
		t.Fatal(err)
	}
	_, err = stranger.Sys().SealStatusWithContext(background(t))
	if err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Fatalf("got %v, want a refused certificate", err)
	}
}

func machineLogin(t *testing.T) {
	client, tap, login := machine(t)
	tap.expect(t, "PUT", "auth/kubernetes/login", 200)
	if login.Auth == nil || login.Auth.ClientToken == "" || login.Auth.Renewable || login.Auth.LeaseDuration != 600 {
		t.Fatalf("got lease %d, renewable %t", login.Auth.LeaseDuration, login.Auth.Renewable)
	}
	if kind, life, _ := lookup(t, client); kind != "batch" || life < 500 || life > 600 {
		t.Fatalf("got type %q, ttl %d", kind, life)
	}
	tap.expect(t, "GET", "auth/token/lookup-self", 200)
}

// lookup reads what the provider reads, with the types that its assertions insist on.
func lookup(t *testing.T, client *vault.Client) (kind string, life int64, expires time.Time) {
	t.Helper()
	secret, err := client.Auth().Token().LookupSelfWithContext(background(t))
	if err != nil {
		t.Fatal(err)
	}
	kind, isText := secret.Data["type"].(string)
	number, isNumber := secret.Data["ttl"].(json.Number)
	written, isTime := secret.Data["expire_time"].(string)
	if !isText || !isNumber || !isTime {
		t.Fatalf("type is %T, ttl %T, expire_time %T", secret.Data["type"], secret.Data["ttl"], secret.Data["expire_time"])
	}
	if life, err = number.Int64(); err != nil {
		t.Fatal(err)
	}
	if expires, err = time.Parse(time.RFC3339, written); err != nil {
		t.Fatal(err)
	}
	if off := time.Until(expires) - time.Duration(life)*time.Second; off.Abs() > 10*time.Second {
		t.Fatalf("expire_time and ttl differ by %s", off)
	}
	return kind, life, expires
}

func refusedLogin(t *testing.T) {
	client, tap := connect(t)
	jwt := given(t, "SYMBOLON_JWT")
	forged := jwt[:strings.LastIndex(jwt, ".")+1] + strings.Repeat("A", 86) // another signature
	login, err := kubernetes.NewKubernetesAuth("reader", kubernetes.WithServiceAccountToken(forged))
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Auth().Login(background(t), login)
	refusal(t, err, http.StatusForbidden)
	if strings.Contains(err.Error(), forged) || len(tap.seen) != 1 {
		t.Fatalf("%d requests, and an error that may repeat the token", len(tap.seen))
	}
	_, err = client.Auth().Token().LookupSelfWithContext(background(t))
	refusal(t, err, http.StatusForbidden)
}

// read fetches a key of KV version 2 and gives the inner data, nil if it is null; ok is false if there is no answer at all.
func read(t *testing.T, client *vault.Client, key string, query map[string][]string) (data map[string]any, ok bool) {
	t.Helper()
	secret, err := client.Logical().ReadWithDataWithContext(background(t), mount+"/data/"+key, query)
	if err != nil {
		t.Fatal(err)
	}
	if secret == nil {
		return nil, false
	}
	inner, present := secret.Data["data"]
	if !present {
		t.Fatalf("an answer without the key data: %v", slices.Collect(maps.Keys(secret.Data)))
	}
	data, isObject := inner.(map[string]any)
	if inner != nil && !isObject {
		t.Fatalf("data is %T", inner)
	}
	return data, true
}

func machineReads(t *testing.T) {
	client, tap, _ := machine(t)
	data, _ := read(t, client, "app/db", nil)
	tap.expect(t, "GET", "secret/data/app/db", 200)
	if data["user"] != "app" || data["odd"] != "a<b>&\"\u00e9\u2028" || data["n"] != json.Number("12345678901234567890") {
		t.Fatalf("got %v", data)
	}
	data, _ = read(t, client, "app/db", map[string][]string{"version": {"1"}})
	tap.expect(t, "GET", "secret/data/app/db?version=1", 200)
	if data["user"] != "first" {
		t.Fatalf("got %v of version 1", data)
	}
	data, _ = read(t, client, "/app/../app//db", nil) // the library tidies paths before it sends them
	tap.expect(t, "GET", "secret/data/app/db", 200)
	if data["user"] != "app" {
		t.Fatalf("got %v", data)
	}
	data, _ = read(t, client, "app/with space/ü?%41", nil)
	if data["value"] != "odd name" {
		t.Fatalf("got %v under the odd name", data)
	}
	for _, key := range []string{"closed/b", "closed/absent"} {
		_, err := client.Logical().ReadWithDataWithContext(background(t), mount+"/data/"+key, nil)
		refusal(t, err, http.StatusForbidden)
	}
	_, err := client.Logical().WriteWithContext(background(t), mount+"/data/app/db", map[string]any{"data": map[string]any{}})
	refusal(t, err, http.StatusForbidden)
}

func absence(t *testing.T) {
	client, tap, _ := machine(t)
	if _, ok := read(t, client, "app/absent", nil); ok {
		t.Fatal("something absent gave an answer")
	}
	tap.expect(t, "GET", "secret/data/app/absent", 404)
	for _, key := range []string{"app/deleted", "app/destroyed"} {
		data, ok := read(t, client, key, nil)
		tap.expect(t, "GET", "secret/data/"+key, 404)
		if !ok || data != nil {
			t.Fatalf("%s: got %v, %t; want an answer whose data is null", key, data, ok)
		}
	}
	_, err := client.Logical().ReadWithDataWithContext(background(t), "no-such-engine/data/x", nil)
	refusal(t, err, http.StatusForbidden) // never an absence: nobody has looked
}

// missing asks for what nobody can have looked for, with a policy for every path: no mount, another version, no
// route. The provider takes whatever is no error here for a secret that is absent.
func missing(t *testing.T) {
	client, _ := connect(t)
	client.SetToken(given(t, "SYMBOLON_ROOT"))
	for _, path := range []string{
		"no-such-engine/data/app/db", "no-such-engine/app", "secret/app/db", "secret", "auth/no-such-mount/role/x", "sys/no-such-thing",
	} {
		_, err := client.Logical().ReadWithDataWithContext(background(t), path, nil)
		refusal(t, err, http.StatusBadRequest)
		_, err = client.Logical().ListWithContext(background(t), path)
		refusal(t, err, http.StatusBadRequest)
	}
}

// list gives the names in a folder, nil if the answer is an absence.
func list(t *testing.T, client *vault.Client, folder string) []string {
	t.Helper()
	secret, err := client.Logical().ListWithContext(background(t), mount+"/metadata/"+folder)
	if err != nil {
		t.Fatal(err)
	}
	if secret == nil {
		return nil
	}
	var names []string
	for _, name := range secret.Data["keys"].([]any) {
		names = append(names, name.(string))
	}
	return names
}

func lists(t *testing.T) {
	client, tap, _ := application(t)
	got := list(t, client, "app/")
	tap.expect(t, "GET", "secret/metadata/app?list=true", 200) // the library drops the slash
	if want := []string{"db", "deleted", "destroyed", "with space/"}; !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	if got := list(t, client, ""); !slices.Equal(got, []string{"app/", "closed/"}) {
		t.Fatalf("got %q at the top", got)
	}
	if got := list(t, client, "app/nowhere/"); got != nil {
		t.Fatalf("got %q in an absent folder", got)
	}
	tap.expect(t, "GET", "secret/metadata/app/nowhere?list=true", 404)
}

func write(t *testing.T, client *vault.Client, path string, body map[string]any) *vault.Secret {
	t.Helper()
	secret, err := client.Logical().WriteWithContext(background(t), path, body)
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

func value(text string, cas any) map[string]any {
	body := map[string]any{"data": map[string]any{"value": text}}
	if cas != nil {
		body["options"] = map[string]any{"cas": cas}
	}
	return body
}

func push(t *testing.T) {
	client, tap, _ := application(t)
	const data, metadata = mount + "/data/pushed/one", mount + "/metadata/pushed/one"
	if _, ok := read(t, client, "pushed/one", nil); ok {
		t.Fatal("the secret is there already")
	}
	mine := map[string]any{"custom_metadata": map[string]any{"managed-by": "external-secrets"}}
	write(t, client, metadata, mine)
	tap.expect(t, "PUT", metadata, 204)
	if got, _ := read(t, client, "pushed/one", nil); got != nil {
		t.Fatalf("metadata alone gave %v", got)
	}
	made := write(t, client, data, value("first", 0))
	tap.expect(t, "PUT", data, 200)
	if made.Data["version"] != json.Number("1") {
		t.Fatalf("got version %v", made.Data["version"])
	}
	_, err := client.Logical().WriteWithContext(background(t), data, value("lost", 0))
	refusal(t, err, http.StatusBadRequest)
	described, err := client.Logical().ReadWithDataWithContext(background(t), metadata, nil)
	if err != nil {
		t.Fatal(err)
	}
	tap.expect(t, "GET", metadata, 200)
	current, isNumber := described.Data["current_version"].(json.Number)
	custom, _ := described.Data["custom_metadata"].(map[string]any)
	_, isText := described.Data["created_time"].(string)
	if !isNumber || !isText || custom["managed-by"] != "external-secrets" {
		t.Fatalf("got metadata %v", described.Data)
	}
	version, err := current.Int64()
	if err != nil {
		t.Fatal(err)
	}
	write(t, client, metadata, mine)
	write(t, client, data, value("second", version))
	if got, _ := read(t, client, "pushed/one", nil); got["value"] != "second" {
		t.Fatalf("got %v after the second push", got)
	}
}

func deletes(t *testing.T) {
	client, tap, _ := application(t)
	for _, key := range []string{"pushed/one", "pushed/never"} {
		for _, path := range []string{mount + "/data/" + key, mount + "/metadata/" + key} {
			secret, err := client.Logical().DeleteWithContext(background(t), path)
			if secret != nil || err != nil {
				t.Fatalf("got %v, %v", secret, err)
			}
			tap.expect(t, "DELETE", path, 204)
		}
		if _, ok := read(t, client, key, nil); ok {
			t.Fatalf("%s is still there", key)
		}
	}
}

func revokeSelf(t *testing.T) {
	client, tap, login := application(t)
	if kind, life, _ := lookup(t, client); kind != "service" || life < 500 {
		t.Fatalf("got type %q, ttl %d", kind, life)
	}
	if err := client.Auth().Token().RevokeSelfWithContext(background(t), login.Auth.ClientToken); err != nil {
		t.Fatal(err)
	}
	tap.expect(t, "PUT", "auth/token/revoke-self", 204)
	_, err := client.Auth().Token().LookupSelfWithContext(background(t))
	refusal(t, err, http.StatusForbidden)
}

func sealed(t *testing.T) {
	client, tap, _ := machine(t)
	root, _ := connect(t)
	root.SetToken(given(t, "SYMBOLON_ROOT"))
	if err := root.Sys().SealWithContext(background(t)); err != nil {
		t.Fatal(err)
	}
	client.SetMaxRetries(1)
	before := len(tap.seen)
	for _, key := range []string{"app/db", "app/absent"} {
		_, err := client.Logical().ReadWithDataWithContext(background(t), mount+"/data/"+key, nil)
		refusal(t, err, http.StatusServiceUnavailable)
	}
	if tries := len(tap.seen) - before; tries != 4 {
		t.Fatalf("%d tries; the library repeats what is answered with 503", tries)
	}
	_, err := client.Auth().Token().LookupSelfWithContext(background(t))
	refusal(t, err, http.StatusServiceUnavailable)
	open := false
	for _, share := range shares(t) {
		status, err := root.Sys().UnsealWithContext(background(t), share)
		if err != nil {
			t.Fatal(err)
		}
		open = !status.Sealed
	}
	if data, _ := read(t, client, "app/db", nil); !open || data["user"] != "app" {
		t.Fatalf("got %v after the broker was opened again", data)
	}
}
