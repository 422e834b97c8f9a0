#include "signature.h"
#include "fd.h"
#include "manifest.h"
#include <memory>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

namespace xos::checkpoint {
namespace {

template <auto release>
struct Release {
  template <typename T>
  void operator()(T* object) const { release(object); }
};
using Bio = std::unique_ptr<BIO, Release<BIO_free_all>>;
using Certificate = std::unique_ptr<X509, Release<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Release<EVP_PKEY_free>>;
using Digest = std::unique_ptr<EVP_MD_CTX, Release<EVP_MD_CTX_free>>;
using Store = std::unique_ptr<X509_STORE, Release<X509_STORE_free>>;
using StoreContext = std::unique_ptr<X509_STORE_CTX, Release<X509_STORE_CTX_free>>;
using Names = std::unique_ptr<GENERAL_NAMES, Release<GENERAL_NAMES_free>>;

const unsigned char* bytesOf(const std::string& text) { return reinterpret_cast<const unsigned char*>(text.data()); }

Bio memory(const std::string& text) { return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))); }

Certificate readCertificate(const std::string& pem) {
  return Certificate(PEM_read_bio_X509(memory(pem).get(), nullptr, nullptr, nullptr));
}

/// Ed25519 and Ed448 hash by themselves; every other kind of key signs a SHA-256.
const EVP_MD* digestFor(EVP_PKEY* key) {
  int id = EVP_PKEY_get_base_id(key);
  return id == EVP_PKEY_ED25519 || id == EVP_PKEY_ED448 ? nullptr : EVP_sha256();
}

/// Whether one of the certificate's URIs is that of a node of the VO.
bool namesNode(X509* certificate, const std::string& vo) {
  Names names(static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  std::string prefix = "xos://" + vo + "/node/";
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    auto* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_URI) continue;
    auto* uri = name->d.uniformResourceIdentifier;
    std::string text(reinterpret_cast<const char*>(ASN1_STRING_get0_data(uri)), static_cast<size_t>(ASN1_STRING_length(uri)));
    if (text.size() > prefix.size() && text.starts_with(prefix)) return true;
  }
  return false;
}

std::string verifyChain(X509* certificate, const std::string& ca_pem, int64_t time_ms) {
  Store store(X509_STORE_new());
  Bio bio = memory(ca_pem);
  int anchors = 0;
  while (Certificate ca{PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)}) {
    X509_STORE_add_cert(store.get(), ca.get());
    ++anchors;
  }
  if (!anchors) return "this node has no CA certificate of its VO";
  StoreContext context(X509_STORE_CTX_new());
  if (!X509_STORE_CTX_init(context.get(), store.get(), certificate, nullptr)) return "out of memory";
  // ca.pem may hold the node CA without its root; the checkpoint may be older than the certificate's end.
  X509_STORE_CTX_set_flags(context.get(), X509_V_FLAG_PARTIAL_CHAIN);
  X509_STORE_CTX_set_time(context.get(), 0, static_cast<time_t>(time_ms / 1000));
  if (X509_verify_cert(context.get()) != 1)
    return std::string("its node's certificate: ") + X509_verify_cert_error_string(X509_STORE_CTX_get_error(context.get()));
  return "";
}

}  // namespace

std::string sha256Hex(const std::string& bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  EVP_Digest(bytes.data(), bytes.size(), digest, &length, EVP_sha256(), nullptr);
  return toHex(std::string(reinterpret_cast<char*>(digest), length));
}

std::string nodeCertificate(const std::string& credentials) { return readFile(credentials + "/cert.pem"); }

std::string sign(const std::string& credentials, const std::string& text) {
  std::string pem = readFile(credentials + "/key.pem");
  Key key(PEM_read_bio_PrivateKey(memory(pem).get(), nullptr, nullptr, nullptr));
  OPENSSL_cleanse(pem.data(), pem.size());
  Digest context(EVP_MD_CTX_new());
  if (!key || !context || EVP_DigestSignInit(context.get(), nullptr, digestFor(key.get()), nullptr, key.get()) != 1) return "";
  size_t length = 0;
  if (EVP_DigestSign(context.get(), nullptr, &length, bytesOf(text), text.size()) != 1) return "";
  std::string signature(length, '\0');
  auto* out = reinterpret_cast<unsigned char*>(signature.data());
  if (EVP_DigestSign(context.get(), out, &length, bytesOf(text), text.size()) != 1) return "";
  signature.resize(length);
  return signature;
}

std::string nodeAuthority(const std::string& credentials) { return readFile(credentials + "/ca.pem"); }

std::string verifySignature(const std::string& authority, const std::string& vo, const std::string& certificate_pem,
                            const std::string& signature, const std::string& text, int64_t time_ms) {
  if (signature.empty() || certificate_pem.empty()) return "it is not signed by a node";
  Certificate certificate = readCertificate(certificate_pem);
  if (!certificate) return "its node's certificate cannot be read";
  std::string why = verifyChain(certificate.get(), authority, time_ms);
  if (!why.empty()) return why;
  if (!namesNode(certificate.get(), vo)) return "its certificate is not that of a node of '" + vo + "'";
  EVP_PKEY* key = X509_get0_pubkey(certificate.get());
  Digest context(EVP_MD_CTX_new());
  if (!key || !context || EVP_DigestVerifyInit(context.get(), nullptr, digestFor(key), nullptr, key) != 1) return "its key cannot be used";
  if (EVP_DigestVerify(context.get(), bytesOf(signature), signature.size(), bytesOf(text), text.size()) != 1)
    return "its signature is wrong";
  return "";
}

}  // namespace xos::checkpoint
