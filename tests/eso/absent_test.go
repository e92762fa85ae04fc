// Absent or failed: the one distinction of the External Secrets Operator that deletes. Its provider for Vault,
// unmodified, against a broker that the test around it (tests/src/eso.rs) has put into the state to be asked about.
package eso_test

import (
	"context"
	"errors"
	"os"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kclient "sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	esv1 "github.com/external-secrets/external-secrets/apis/externalsecrets/v1"
	esmeta "github.com/external-secrets/external-secrets/apis/meta/v1"
	"github.com/external-secrets/external-secrets/pkg/provider/vault"
)

const namespace = "apps"

// What the operator makes of an answer.
type outcome string

const (
	found  outcome = "found"
	absent outcome = "absent" // with deletionPolicy: Delete the Secret goes
	failed outcome = "failed" // the Secret stays, and the controller tries again
)

func outcomeOf(err error) outcome {
	switch {
	case err == nil:
		return found
	case errors.Is(err, esv1.NoSecretErr):
		return absent
	default:
		return failed
	}
}

// What is asked for: a store (mount and version of its engine) and a name in it.
type question struct {
	what    string
	token   string // the variable that has it
	mount   string
	version esv1.VaultKVStoreVersion
	key     string
	wanted  outcome
}

var open = []question{
	{"a secret", "SYMBOLON_ROOT", "secret", esv1.VaultKVStoreV2, "app/db", found},
	{"a secret of version 1", "SYMBOLON_ROOT", "old", esv1.VaultKVStoreV1, "app/db", found},
	{"a secret that is not there", "SYMBOLON_ROOT", "secret", esv1.VaultKVStoreV2, "app/none", absent},
	{"one of version 1 that is not there", "SYMBOLON_ROOT", "old", esv1.VaultKVStoreV1, "app/none", absent},
	{"a deleted version", "SYMBOLON_ROOT", "secret", esv1.VaultKVStoreV2, "app/deleted", absent},
	{"a destroyed version", "SYMBOLON_ROOT", "secret", esv1.VaultKVStoreV2, "app/destroyed", absent},
	{"a mount that is not there", "SYMBOLON_ROOT", "nomount", esv1.VaultKVStoreV2, "app/db", failed},
	{"the same in version 1", "SYMBOLON_ROOT", "nomount", esv1.VaultKVStoreV1, "app/db", failed},
	{"a mount below a mount", "SYMBOLON_ROOT", "secret/team", esv1.VaultKVStoreV2, "app/db", failed},
	{"version 1 asked of version 2", "SYMBOLON_ROOT", "secret", esv1.VaultKVStoreV1, "app/db", failed},
	{"what nobody may see", "SYMBOLON_WEAK", "secret", esv1.VaultKVStoreV2, "app/db", failed},
	{"what nobody may see and is not there", "SYMBOLON_WEAK", "secret", esv1.VaultKVStoreV2, "app/none", failed},
	{"a mount that is not there, of somebody with few rights", "SYMBOLON_WEAK", "nomount", esv1.VaultKVStoreV2, "app/db", failed},
	{"anything, with a token that is none", "SYMBOLON_NO_TOKEN", "secret", esv1.VaultKVStoreV2, "app/none", failed},
}

func TestAbsentOrFailed(t *testing.T) {
	// Needed, and never asked: no store here logs in with a service account.
	t.Setenv("KUBECONFIG", kubeconfig(t))
	for _, question := range questions(t) {
		t.Run(question.what, func(t *testing.T) { question.ask(t) })
	}
}

// Open, every question has its answer; in every other state all of them fail.
func questions(t *testing.T) []question {
	asked := open
	if state := os.Getenv("SYMBOLON_STATE"); state != "open" {
		t.Logf("the broker is %s", state)
		asked = nil
		for _, question := range open {
			question.wanted = failed
			asked = append(asked, question)
		}
	}
	return asked
}

func (q question) ask(t *testing.T) {
	ctx := context.Background()
	client, err := connect(ctx, q)
	if err != nil {
		t.Fatalf("no client: %v", err)
	}
	_, err = client.GetSecret(ctx, esv1.ExternalSecretDataRemoteRef{Key: q.key})
	if got := outcomeOf(err); got != q.wanted {
		t.Errorf("GetSecret: %s instead of %s: %v", got, q.wanted, err)
	}
	_, err = client.GetSecretMap(ctx, esv1.ExternalSecretDataRemoteRef{Key: q.key})
	if got := outcomeOf(err); got != q.wanted {
		t.Errorf("GetSecretMap: %s instead of %s: %v", got, q.wanted, err)
	}
	exists, err := client.SecretExists(ctx, pushed{q.key})
	if (err != nil) != (q.wanted == failed) || exists != (q.wanted == found) {
		t.Errorf("SecretExists: %v, %v; wanted %s", exists, err, q.wanted)
	}
	if q.wanted == failed {
		folder := "app"
		listed, err := client.GetAllSecrets(ctx, esv1.ExternalSecretFind{Path: &folder, Name: &esv1.FindName{RegExp: ".*"}})
		if q.version == esv1.VaultKVStoreV2 && err == nil {
			t.Errorf("GetAllSecrets: %d secrets and no error", len(listed))
		}
	}
}

// connect makes a client as the controller does, with a token from a Secret.
func connect(ctx context.Context, q question) (esv1.SecretsClient, error) {
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "broker", Namespace: namespace},
		Data:       map[string][]byte{"token": []byte(os.Getenv(q.token))},
	}
	ca, err := os.ReadFile(os.Getenv("SYMBOLON_CACERT"))
	if err != nil {
		return nil, err
	}
	kube := kclient.Client(fake.NewClientBuilder().WithObjects(secret).Build())
	store := &esv1.SecretStore{
		TypeMeta:   metav1.TypeMeta{Kind: esv1.SecretStoreKind},
		ObjectMeta: metav1.ObjectMeta{Name: "broker", Namespace: namespace},
		Spec: esv1.SecretStoreSpec{
			RetrySettings: &esv1.SecretStoreRetrySettings{},
			Provider: &esv1.SecretStoreProvider{Vault: &esv1.VaultProvider{
				Server:   os.Getenv("SYMBOLON_ADDR"),
				Path:     &q.mount,
				Version:  q.version,
				CABundle: ca,
				Auth: &esv1.VaultAuth{
					TokenSecretRef: &esmeta.SecretKeySelector{Name: "broker", Key: "token"},
				},
			}},
		},
	}
	return (&vault.Provider{NewVaultClient: vault.NewVaultClient}).NewClient(ctx, store, kube, namespace)
}

// pushed is what a PushSecret asks for.
type pushed struct{ key string }

func (p pushed) GetRemoteKey() string              { return p.key }
func (p pushed) GetProperty() string               { return "" }
func (p pushed) GetSecretKey() string              { return "" }
func (p pushed) GetMetadata() *apiextensionsv1.JSON { return nil }

func kubeconfig(t *testing.T) string {
	path := t.TempDir() + "/config"
	config := `{"apiVersion":"v1","kind":"Config","current-context":"x",` +
		`"clusters":[{"name":"x","cluster":{"server":"https://127.0.0.1:9"}}],` +
		`"contexts":[{"name":"x","context":{"cluster":"x","user":"x"}}],"users":[{"name":"x","user":{}}]}`
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
