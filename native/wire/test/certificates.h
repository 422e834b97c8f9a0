// Makes a CA and node certificates with the openssl tool, as the VO's registry would (docs/architecture.md, "Identities").
#pragma once
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <unistd.h>

namespace xos::test {

class Certificates {
 public:
  Certificates() {
    char path[] = "/tmp/xos-wire-test-XXXXXX";
    if (!mkdtemp(path)) throw std::runtime_error("mkdtemp");
    root_ = path;
  }
  const std::string& root() const { return root_; }
  ~Certificates() { std::filesystem::remove_all(root_); }

  void make_ca(const std::string& name) {
    run("openssl req -x509 -newkey ed25519 -nodes -keyout " + root_ + "/" + name + ".key -out " + root_ + "/" + name + ".crt -days 2 -subj /CN=" + name);
  }
  /// Directory with key.pem, cert.pem and ca.pem; `uri` is the SAN, `trusts` the CA whose nodes this node accepts.
  std::string make_node(const std::string& directory, const std::string& uri, const std::string& issuer, const std::string& trusts) {
    const std::string d = root_ + "/" + directory;
    std::filesystem::create_directory(d);
    run("openssl req -newkey ed25519 -nodes -keyout " + d + "/key.pem -out " + d + "/csr -subj /CN=" + directory);
    run("printf 'subjectAltName=" + uri + ",DNS:xos-node\\n' > " + d + "/ext");
    run("openssl x509 -req -in " + d + "/csr -CA " + root_ + "/" + issuer + ".crt -CAkey " + root_ + "/" + issuer + ".key -days 2 -extfile " + d +
        "/ext -out " + d + "/cert.pem");
    std::filesystem::copy_file(root_ + "/" + trusts + ".crt", d + "/ca.pem");
    return d;
  }

 private:
  std::string root_;
  static void run(const std::string& command) {
    if (system((command + " 2>/dev/null").c_str()) != 0) throw std::runtime_error("failed: " + command);
  }
};

}  // namespace xos::test
