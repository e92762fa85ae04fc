#!/usr/bin/env bash
# Signs a policy for a TPM source (docs/tpm.md): the state in which one PCR has this value is let through.
# sign-tpm-policy.sh KEY.pem REFERENCE PCR VALUE-FILE > POLICY
# REFERENCE is what the broker says (hexadecimal); VALUE-FILE 32 bytes, as `tpm2_pcrread sha256:PCR -o` writes.
set -euo pipefail
key=$1 reference=$2 pcr=$3 value=$4

hex() { od -An -v -tx1 "$@" | tr -d ' \n'; }
bytes() { printf '%b' "$(printf %s "$1" | sed 's/../\\x&/g')"; }

mask=$((1 << pcr))
selection=00000001000b03$(printf '%02x%02x%02x' $((mask & 255)) $((mask >> 8 & 255)) $((mask >> 16 & 255)))
digest=$(openssl dgst -sha256 -r "$value" | cut -d' ' -f1)
approved=$(bytes "$(printf '%064d' 0)0000017f$selection$digest" | openssl dgst -sha256 -r | cut -d' ' -f1)
signature=$(bytes "$approved$reference" | openssl dgst -sha256 -sign "$key" | hex)
printf 'symbolon-tpm-policy 1\npcr %s %s\nsignature %s\n' "$pcr" "$(hex "$value")" "$signature"
