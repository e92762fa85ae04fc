//! The published vectors of COCKTAIL-DKG v0.2.0 for this suite: 2 of 3, 3 of 5, 7 of 14, and 2 of 3 with an
//! extension.
//!
//! All secrets of the vectors come from a published seed, so the whole protocol runs here through the code of
//! the product, and every published result that fits on a page is compared: static keys, ciphertexts, shares,
//! transcript hashes (which cover every commitment, proof and ephemeral key) and signatures. In the published
//! protocol shares are sealed to static keys, so here these are the receive keys.

#![allow(clippy::unwrap_used)]

use std::convert::Infallible;

use data_encoding::HEXLOWER;
use rand_core::{TryCryptoRng, TryRng};
use sha2::{Digest, Sha512};

use super::context::{CIPHERSUITE, context};
use super::roster::Dealer;
use super::run::RunKind;
use super::session::Session;
use super::{CIPHERTEXT_BYTES, ReceiveKey, SCHNORR_BYTES, StaticKey};
use crate::secret::Secret;

const SEED: &str = "b171b6992cc6db1f40b18dd8b1361d642f013e4b1208a735259a516af60dcb68";

struct Vector {
    tag: &'static str,
    threshold: u16,
    context: &'static str,
    /// P of the last participant.
    last_static: &'static str,
    /// The ciphertexts of the last participant.
    last_ciphertexts: &'static [&'static str],
    shares: &'static [&'static str],
    verification_shares: &'static [&'static str],
    public: &'static str,
    transcripts: &'static [Transcript],
}

struct Transcript {
    extension: &'static str,
    hash: &'static str,
    signatures: &'static [&'static str],
}

fn hex(text: &str) -> Vec<u8> {
    HEXLOWER.decode(text.as_bytes()).unwrap()
}

/// The secrets of the vectors: SHA-512(seed ‖ suite ‖ t ‖ n ‖ label), streams with a counter behind.
struct Stream {
    prefix: Vec<u8>,
    counter: u64,
    ready: Vec<u8>,
}

impl Stream {
    fn new(threshold: u16, nodes: u16, label: &str) -> Self {
        let (t, n) = (u32::from(threshold).to_le_bytes(), u32::from(nodes).to_le_bytes());
        let prefix = [&hex(SEED), CIPHERSUITE, &t, &n, label.as_bytes()].concat();
        Self { prefix, counter: 0, ready: Vec::new() }
    }

    fn first(&self) -> [u8; 64] {
        Sha512::digest(&self.prefix).into()
    }
}

impl TryRng for Stream {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for byte in out {
            if self.ready.is_empty() {
                let block = Sha512::new_with_prefix(&self.prefix).chain_update(self.counter.to_le_bytes());
                self.ready = block.finalize().to_vec();
                self.counter += 1;
            }
            *byte = self.ready.remove(0);
        }
        Ok(())
    }
}

impl TryCryptoRng for Stream {}

fn static_key(threshold: u16, nodes: u16, index: u16) -> StaticKey {
    let wide = Stream::new(threshold, nodes, &format!("static_secret_key_{index}")).first();
    let scalar = curve25519_dalek::scalar::Scalar::from_bytes_mod_order_wide(&wide);
    StaticKey::from_secret(Secret::filled_by(|out| out.copy_from_slice(scalar.as_bytes()))).unwrap()
}

fn receive_key(key: &StaticKey) -> ReceiveKey {
    let secret = Secret::filled_by(|out| out.copy_from_slice(key.secret().expose()));
    ReceiveKey::from_secret(secret).unwrap()
}

fn session(vector: &Vector, keys: &[StaticKey]) -> Session {
    let receivers: Vec<_> = keys.iter().map(|key| *key.public()).collect();
    let dealer = |(index, key): (u16, &crate::group::Point)| Dealer { index, key: *key, share: None };
    Session {
        kind: RunKind::Generate,
        context: context(vector.tag.as_bytes(), &receivers),
        threshold: vector.threshold,
        dealers: (1..).zip(&receivers).map(dealer).collect(),
        receive_keys: receivers.clone(),
        receivers,
        base: None,
        extension: Vec::new(),
    }
}

fn check(vector: &Vector) {
    let nodes = u16::try_from(vector.shares.len()).unwrap();
    let keys: Vec<_> = (1..=nodes).map(|index| static_key(vector.threshold, nodes, index)).collect();
    assert_eq!(HEXLOWER.encode(keys.last().unwrap().public().as_bytes()), vector.last_static);
    let session = session(vector, &keys);
    assert_eq!(HEXLOWER.encode(&session.context), vector.context);
    let deal = |(index, key): (u16, &StaticKey)| {
        let label = format!("round1_participant_{index}");
        session.deal(key, None, &mut Stream::new(vector.threshold, nodes, &label)).unwrap()
    };
    let dealings: Vec<_> = (1..).zip(&keys).map(deal).collect();
    check_ciphertexts(vector, dealings.last().unwrap());
    check_shares(vector, &session, &keys, &dealings);
    check_transcripts(vector, &session, &keys, &dealings);
}

fn check_ciphertexts(vector: &Vector, dealing: &[u8]) {
    let framed = vector.last_ciphertexts.len() * (8 + CIPHERTEXT_BYTES);
    let start = dealing.len() - SCHNORR_BYTES - framed;
    let found = dealing[start..].chunks(8 + CIPHERTEXT_BYTES);
    for (expected, found) in vector.last_ciphertexts.iter().zip(found) {
        assert_eq!(found[..8], 48_u64.to_be_bytes());
        assert_eq!(HEXLOWER.encode(&found[8..]), *expected);
    }
}

fn check_shares(vector: &Vector, session: &Session, keys: &[StaticKey], dealings: &[Vec<u8>]) {
    let receive = |key: &StaticKey| session.receive(key, &receive_key(key), None, dealings).unwrap();
    let pending: Vec<_> = keys.iter().map(receive).collect();
    let signatures: Vec<_> = pending.iter().map(|pending| *pending.signature()).collect();
    for (place, pending) in pending.iter().enumerate() {
        let done = pending.finish(&signatures).unwrap();
        assert_eq!(HEXLOWER.encode(done.share.secret().expose()), vector.shares[place]);
        let public = done.key.share(done.index).unwrap();
        assert_eq!(public, *done.share.public_key());
        assert_eq!(HEXLOWER.encode(public.as_bytes()), vector.verification_shares[place]);
        assert_eq!(HEXLOWER.encode(done.key.public().as_bytes()), vector.public);
    }
}

fn check_transcripts(vector: &Vector, session: &Session, keys: &[StaticKey], dealings: &[Vec<u8>]) {
    let checked = session.check(dealings).unwrap();
    for expected in vector.transcripts {
        let transcript = session.transcript(&checked, &hex(expected.extension));
        assert_eq!(HEXLOWER.encode(&Sha512::digest(&transcript)), expected.hash);
        for (key, signature) in keys.iter().zip(expected.signatures) {
            assert_eq!(HEXLOWER.encode(&key.sign(&[&transcript])), *signature);
        }
    }
}

#[test]
fn two_of_three() {
    check(&Vector {
        tag: "COCKTAIL-DKG-TEST-VECTOR-2-OF-3",
        threshold: 2,
        context: "be553a2da73e8832be8e3c72689a21bd69bdefbd512c52adc920e13527318da354e817afb721aaa31d079e9579f659343454066480aa9b25a64448a8922d0d65",
        last_static: "e4dad4d96d6e507ac59aa539a42c8185618b51941f4497af246cfaa9d1912b18",
        last_ciphertexts: &[
            "a8702db938a0e1e89ea25f0e1a6e343504485ac8e7d57e5389a1ec0d24e2e461ef36590c9686b13f526755c8ad4ce621",
            "422bbfb63733f16ffe7d59f9617a75b4da7ea2ed9bdc70af90913f10e8f34bb007d8fa676a14401223e4cdf1c835fa54",
            "c354f44a49c76cc5cf0a73b9000a35867c758c3e03977915345de037e40b57bb2fea692d7f7c0776f25dac636926193f",
        ],
        shares: &[
            "09b8de601c1d28161f3b18410245595d791de5e54372f19628760125fa263304",
            "7db7ccef4df8fb157766082728cd2f072c0ec3af6d352a3d0af49919daf9950b",
            "04e3c4216570bdbdf8f4006a6f5b279cdefea07997f862e3eb71320ebaccf802",
        ],
        verification_shares: &[
            "5e130c137d31a445d1b8df391b41db0dbf6a9e13649abb40d68d3fa955eca22d",
            "2c9a0c7d2a8e3c37c7b1ebb5d40bad2e9127151ad160a8b7d0782482fd790007",
            "b434b345762decb04e5d9937cc5aee03b828808ea8d5500ea7c06c684712e143",
        ],
        public: "0a1592f555f20d3a3b3c7bc032ebe4b46cb2870da141404873e5fc8d4136120f",
        transcripts: &[
            Transcript {
                extension: "",
                hash: "fb5790ec7c23f66c25f36d50361e0e448bb3174cec4ee0c9ddc3da4e595428b1215ab66299825529b5f4b1acdb49fecad56ca416993e3bbffe504077204b1f19",
                signatures: &[
                    "acb3f81cb8190d3acff848b88fe00eb6e3fbbea124b8d193a8ac7f391908cc362e665f2ab38193b65b016ba1face12966c7392ffdcf544657e31b9b8415a7e03",
                    "14051f96de93f645de44a36756d7b4c03e6f62de7d4e6055026f48dda593246e191025fcd30a78ea9477ef629616e3fc8a39950102425364d3cd89ec774d2605",
                    "64b369aeefabaea7bc958a2fa542eabe9ad8e0831413128339b4b49190456b5a2ce69fa5da24666905b64cb228d88cff243eb91640515bf787904578f6fe330b",
                ],
            },
            Transcript {
                extension: "05f6d6bd225542a690b3caf0713d87916d42a806fc5e5be482fdd52de4e54b21edac8c4355ac74eeb459c67c89bc48747476125fbbf5c4666a2966957f20eba8",
                hash: "e7fe06428beb04aed0ccb549f76a15e537b046d54f13db3534bb5fa30e661828a45ef0b7386e137a528e62ec91912ae6649b1e68b51d5a4efb6b1b5697103ae3",
                signatures: &[
                    "0ac91455ad1a5304d7ad22a33965cb257653fc9f0a28ea05f8bf59125615742b35a03df00ba9650fef57b0dea8946b16acac8c22b29ce7b20e6d7b5b1293e609",
                    "e6dd52ce7073754b0795046b7b5d459d16d06bb21e57204f43e9bc7a2f77d3019471c823689d50d5a868cd7d9015ffcc5e146499b0289b88b097761b61137500",
                    "0c0a59d841d48143497060c2c08820d07cbf5c9f06b0b71276a3162a9acc38053a747c3769ebaeae8278f635bf9e5b4ada719ec9039de5db158d8524f38f7105",
                ],
            },
        ],
    });
}

#[test]
fn three_of_five() {
    check(&Vector {
        tag: "COCKTAIL-DKG-TEST-VECTOR-3-OF-5",
        threshold: 3,
        context: "4faf7e59f130de01625ffff50fc665888f8af9269959015986fe5bee98b69482c4b6de19fc8939dc388d0426d2d247325ba7856a95076e4f20631894456b0536",
        last_static: "a4ebab43a8b6baa1842d7afd5e2354401b7c4caef9a7edab8ad5b4d9ffdb8813",
        last_ciphertexts: &[
            "ea43f134a51b17b539fbf6925cdb1444548f32163d855e805e619da67321e228610c7080121626232d7b2fcd0a10fc44",
            "768ad95f877d5e4eabd4c7eb1348c375ca84124895f9223310c92de0fb74fc1eb178f98708d16b708c8e6b0551d7c3a5",
            "c980d27fbe91c082552e0bacbb5faecb23022dbcc007d4cd9675d8bb2303cc67b9dfc9d8b9ec3dfd854cf6189e0abf18",
            "0ab3d95a24302886350e2bddd995f4937435bcb930e9b6b115cd6645d4139705103cfb687ddd1943f4a73b38c02c9838",
            "3153b988c061a440a06cc38cdac463d11b7002f5ea8f30282f2a19e1075d06c86da108305222bf02caa2adcdedbcb453",
        ],
        shares: &[
            "653535bf967662ac857d654764a1b9550abe0809f415b378ab7ada025b4c2802",
            "5d69230ed12c9e7d43e62b58540fff1a951e5a0dfdb119190f86339f3dae6b0c",
            "0f3a902905dfa28f9a303b21ca3729b0c3f533850e8ee4e4848cc411018a5d01",
            "554f67cb67539592379682e8820ef63e9643967028aa13dc0c8e8d5aa5dffd00",
            "2fa9a8f3f88975861a1702ae7e9365c70c0881cf4a06a7fea68a8e792aaf4c0b",
        ],
        verification_shares: &[
            "be53f58edb38e3ad67964229124f804350ef7b1665a1b2dd6a20eb2b04829160",
            "dc3f9543e44f2b1db3ea4506cd5e0bc54162cb9f4e1144e7beaa89f499b3a93e",
            "d27e7ca67ff733af3048c939cc008841a3ec0c761d415ac842fce072f0cd3126",
            "de380d0925d9b53277d69e3307053745a7d972ad62a7d76ef6219475053d7f52",
            "0e0be364b5ed7e1b454b28ef38be3c8c2de44324df78f764247d4c599584514e",
        ],
        public: "08ee9bb0fc75a34dabe96f9f808d89234a7456d0563bc0887404fc9c0bb7b406",
        transcripts: &[Transcript {
            extension: "",
            hash: "6aa2ba2ecdde9aee443bd56eff42c04c76a39dd5be5471dae380a585ad7b741eb375b006d50d2263b7e8c8d20ef127128df2f0eb9eddaa21af2c1fff99a01775",
            signatures: &[
                "e4d30027c06be84e6b61343c1a87d2eef6b56bde46b2c5b50ec450c5505c1c4efd182b34bf6c2751c72fbdee00d9856ccac003c99cd13b9729f930f8254c1f0b",
                "4a1de1fdd589e92097ce10487d4bf282e10adbb1ef4127c49545333aa6a3092417dfc192003fe5512ee7636c1cd21e3ee622b55451de72714c167205e98f5408",
                "7eadb33440132309efcf26481d71432b2478da179d9220433b0daa1c37efed14dba8950fede77b32cb9bf4820f01537f8c6657c26676f39073158a88cf8c010a",
                "aa0930098c4f6b6e9325ddd428c798c77d73bdbd06311e9c3ae8ed8786b8894e41a407181973e3b95c9cdb3187935e7f035238fae60b755988a90aa6b6ab8a0a",
                "58dd4ddb8d742cebcbae9e0fb77de9cadef9d00ebd110c84928fc6b85342ea1c47f048f995d8804d8fbca1ac72351f693185de343774e5998366a680cb44b100",
            ],
        }],
    });
}

#[test]
fn seven_of_fourteen() {
    check(&Vector {
        tag: "COCKTAIL-DKG-TEST-VECTOR-7-OF-14",
        threshold: 7,
        context: "357e71deb7f2259f0f3f3f60500c16edd0e75eff1ce4fd66163df6424fe7bb2db1307ac6bbb4a88a67c2cdf08a74b053dd13dd282e0413f90772aa6c720a28af",
        last_static: "b25ac7ad672ae828780b229ebe0a9ef97626cf5d9f975693ab3aedb5db54846f",
        last_ciphertexts: &[
            "a1aef2cfb4f6d651308746771ade501620c4207fe0650b66ed151f9bd9973aa29fdf72fe434a8419d1d085d876f91778",
            "5ec0e90a0e84c76e8673c3b54b9d8aceb7b063ed47d992afaaf57ca886f5ed76bcc47cb1cc46c5cb8f899bfe86fb20e8",
            "6305b30a32c18764853f6dd9f44b6f7e1bc4d52814e903440ba72e47247b1880141fc74e5d32b2c40c5166f6d1ecd13b",
            "9eb195b8c845d89dcef48a551771fba5eb8a4312b267884c70730584050ceec9492840fa19ca17e326abd966b10e3094",
            "07fc7df95f81598ed0f804db1bea880ee1b4929daa589db7bff1b217b6f67e2fea9c05b5ebe75e501199bc53eb199562",
            "0b856a5ea44fbe3ae3d791bf44bd54fbb80d7634d98182dbcfaf6574b2b0ade84a32c0d0c3fc1ef7427010e9ed83af32",
            "0e562fcf4b8f0e20079bbf43aab6db14c5d6d00dd52ef4df765a82d7933b74ae4e37d7e802ef082de69e34616ad2462a",
            "09afb7acca269f88cdd4a543e5e1cc6534e703cd217fef720b984cd86eab34ff39ff724f222a8a252da50903c1249d37",
            "76498b33f24d0089812e1a81f1c87ba3a2731f877dc649dba34fc1055e8e51f1f20103aab31550cddf81375698c9e001",
            "af9be8ef783fca77f69d713a911a788f9e4fcdde3d8c07773885cd22fa15fb8e45ac0cec9f3721e027b29b811f7d6ee1",
            "75f25e3ebed20967cad0c11a291c0d065d3ca9411810f2eb91692fa0731c3934e8817ab3a45e891f234b22a14a06aea0",
            "9b68627bdf61f0e54e44760c27844a33d45b62fcad35043c36328e530f09e722510db68b8944e8ae5db514c8c0aba972",
            "540b35786ab7998f5b723e26bf06daff19eaa41eaf9f1c3867beaa40874dfba4730298a881d67841f74eb9c6d3982bbc",
            "3ce5b43e3b431fd13d722b125d901cbc33049a6baadaedeb97825d1bb605b9e31c0fff7efb25038a0b9a04e9c1a8578d",
        ],
        shares: &[
            "7fd318c7a71d543ed87e2b8df70d434f3bd4406a0e754069d4317327a02d430a",
            "302e7de8da8bafd705aa75a1dd830603fcf72c0f28e8e6be16cdc7adfc4bf304",
            "3105eeb75e94d6b40a61a734864367a4bae92d3a61442aec086da74d2fd31e0c",
            "53b15dad58d84400a99f358b930494dd6169d9023f38c3289b7f4921b638c40c",
            "0e0472f3a660a898a43501fa72fc7f35d9a9a54d489399d0646a98eb9d021e05",
            "0b7fd92a2a2f819a672e81d62794a3934e60b30ba4b5b478a86d8b0c25b6cb0d",
            "3106d473ce3ab2485942391420b74a60167b0c1fa5585ed8f568e98c43980d08",
            "f21e42ea136b3c2d23bced61db523fa4238057e343b077866981744118401301",
            "542e065107d5b39025913c0b008264861693ff5a85e5008b8aa97e053bfb5c0a",
            "1e5566d47d520209ce9358b6d2313acee122d100d0e9d2c4c50ae70cf4033007",
            "6b3109859b522f902fe0925bc304ff3b083f0b3e2ea38b238750804d58891d0f",
            "454f6d8e605f989170086b75edf846eb6f94e5847e71acb5f0d4dfff4a899c05",
            "5aced299ea6878dfd3ee4bf62733acdecd118b0f910ceb8a2faf9537647cb606",
            "b9b69fecbcc5df9e975fcf76088ef495a733894333bbb46a6ea3cd92bcd3c608",
        ],
        verification_shares: &[
            "9a8493d78c60dc0caaa2aa294777d9f4db157e4b002de4f1d5e5fdba7750b24b",
            "9aa8f5385334269aca711a4e71f0592483aa2360c3a348cd082b79115739507a",
            "b893029dcba9b6613f04a2ad54e526b1e229862bd73ae49c741b1a4e5f232b2a",
            "10491f9a381145194bb1c08cb751d4ff83b6af889ec3614c76c99fd4868d8a6c",
            "f0c445435f26fb3ae44196056f8c764cf14f7c4d0a332b0ba2d07c5fdbc8df6e",
            "3243e6ad68e9e1eba8225d08736319419d758658127c4e3679cf939018836f00",
            "12ba2e8f7f2606d88eb9067e00b3856ec4402c24da72848d64e2880cfe491e68",
            "f2b087c15d8443e6697d4b5da85ecf8d536c266355dd0aee17a8d3a4ec779173",
            "480451e16cad12724b533d3189323a6d496adb3727396625d424fd66ffecb90b",
            "ded3e9b85023d366ad0ba39562a0bf62fe0443c7c574c646435722bab8a2a745",
            "8cd5e93754f4f7ec37b19e3e8ec0d6a98b4c615a2abf0c20ab9845e2bc56622f",
            "084cf1aef59d65efe562275be46805314a9d0820d670fbf425f4130949d71423",
            "600f2bca29f1032979928a8f51062fed90350cb74ff896db952b1767c5e83923",
            "6a35d79048f6d9759da160dde1f6597ccdb3f9230a649eca0b07801fa2e33e7e",
        ],
        public: "5056c3b4570be4c8afa7301347edea1de395810df72afccf576cc076a46d6a07",
        transcripts: &[Transcript {
            extension: "",
            hash: "4167610d1933dcbb51a5f6334ec32cfb06b469f11c6d908f3a6ac544e1e01261060abad37ae56c51ed3976a3a3f185911b76add214fe4c8141e8fc854e71d91d",
            signatures: &[
                "2657cdfef4f1be0b061ada24b70ac44a1b434b3843c1f5c03347b181c3e4ed498f4670755693172e87639432e465515daba05279b2522a65c6ead02da33a1d0b",
                "f4b02380032c6f5508d5391409842368a617601cc9ada51a81b5c3755ba9392fa50e5f5129826acd7959739b4edb501cc2538cd8100d7f8d5cdedd84f59fdd0e",
            ],
        }],
    });
}
