// Values that the server never sees in clear: middleware that encrypts chosen keys of contexts with AES-256-GCM, each
// tenant's with a key of its own.
//
//   encryption postgresql://...    # makes the tenant `sealed`, and runs a workflow of it
//
// A sealed value is a text, "sealed:" and the hexadecimal digits of nonce, tag and cipher text. The names of
// the tenant and the key are authenticated with it, so that no value is taken for another's.
#include <insula/insula.hpp>

#include <openssl/evp.h>
#include <openssl/rand.h>

#include <array>
#include <iostream>
#include <map>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>

namespace {

using Key = std::array<unsigned char, 32>;
constexpr std::size_t nonce_size = 12;
constexpr std::size_t tag_size = 16;
constexpr std::string_view mark = "sealed:";

void require(int done) {
  if (done != 1) throw std::runtime_error{"a value cannot be sealed or opened"};
}

unsigned char* bytes_of(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }
const unsigned char* bytes_of(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }

std::string to_hex(std::string_view raw) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (const char c : raw) {
    const auto byte = static_cast<unsigned char>(c);
    text += digits[byte / 16];
    text += digits[byte % 16];
  }
  return text;
}

std::string from_hex(std::string_view text) {
  std::string raw;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2)
    raw += static_cast<char>(std::stoi(std::string{text.substr(i, 2)}, nullptr, 16));
  return raw;
}

class Cipher {
 public:
  Cipher(const Key& key, std::string_view tenant, std::string_view name)
      : key_(key), whose_(std::string{tenant} + '.' + std::string{name}) {}

  std::string seal(const std::string& clear) {
    std::string nonce(nonce_size, '\0');
    require(RAND_bytes(bytes_of(nonce), static_cast<int>(nonce_size)));
    require(EVP_EncryptInit_ex(context_.get(), EVP_aes_256_gcm(), nullptr, key_.data(), bytes_of(nonce)));
    int length = 0;
    require(EVP_EncryptUpdate(context_.get(), nullptr, &length, bytes_of(whose_), static_cast<int>(whose_.size())));
    std::string sealed(clear.size(), '\0');
    require(EVP_EncryptUpdate(context_.get(), bytes_of(sealed), &length, bytes_of(std::string_view{clear}),
                              static_cast<int>(clear.size())));
    require(EVP_EncryptFinal_ex(context_.get(), bytes_of(sealed) + length, &length));
    std::string tag(tag_size, '\0');
    require(EVP_CIPHER_CTX_ctrl(context_.get(), EVP_CTRL_GCM_GET_TAG, static_cast<int>(tag_size), tag.data()));
    return std::string{mark} + to_hex(nonce + tag + sealed);
  }

  std::string open(std::string_view text) {
    std::string raw = from_hex(text.substr(mark.size()));
    if (raw.size() < nonce_size + tag_size) throw std::runtime_error{"a sealed value is too short"};
    std::string tag = raw.substr(nonce_size, tag_size);
    const std::string sealed = raw.substr(nonce_size + tag_size);
    require(EVP_DecryptInit_ex(context_.get(), EVP_aes_256_gcm(), nullptr, key_.data(), bytes_of(raw)));
    int length = 0;
    require(EVP_DecryptUpdate(context_.get(), nullptr, &length, bytes_of(whose_), static_cast<int>(whose_.size())));
    std::string clear(sealed.size(), '\0');
    require(EVP_DecryptUpdate(context_.get(), bytes_of(clear), &length, bytes_of(std::string_view{sealed}),
                              static_cast<int>(sealed.size())));
    require(EVP_CIPHER_CTX_ctrl(context_.get(), EVP_CTRL_GCM_SET_TAG, static_cast<int>(tag_size), tag.data()));
    require(EVP_DecryptFinal_ex(context_.get(), bytes_of(clear) + length, &length));
    return clear;
  }

 private:
  const Key& key_;
  std::string whose_;
  const std::unique_ptr<EVP_CIPHER_CTX, void (*)(EVP_CIPHER_CTX*)> context_{EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free};
};

class Encryption : public insula::Middleware {
 public:
  // `keys`: by tenant, from where your keys are kept; `chosen`: the keys of contexts whose values are sealed.
  Encryption(std::map<std::string, Key, std::less<>> keys, std::set<std::string> chosen)
      : keys_(std::move(keys)), chosen_(std::move(chosen)) {}

  void to_server(std::string_view tenant, insula::Context& context) override {
    for (const std::string& key : chosen_)
      if (const insula::Value* value = context.find(key); value && !value->is_null())
        context.set(key, Cipher{key_of(tenant), tenant, key}.seal(value->to_json()));
  }
  void from_server(std::string_view tenant, insula::Context& context) override {
    for (const std::string& key : chosen_) {
      const auto text = context.get<std::string>(key);
      if (text && text->starts_with(mark))
        context.set(key, insula::Value::from_json(Cipher{key_of(tenant), tenant, key}.open(*text)));
    }
  }

 private:
  const Key& key_of(std::string_view tenant) const {
    const auto it = keys_.find(tenant);
    if (it == keys_.end()) throw std::runtime_error{"there is no key for this tenant"};
    return it->second;
  }

  const std::map<std::string, Key, std::less<>> keys_;
  const std::set<std::string> chosen_;
};

}  // namespace

int main(int argc, char** argv) {
  try {
    Key key{};
    require(RAND_bytes(key.data(), static_cast<int>(key.size())));
    const auto sealing = std::make_shared<Encryption>(std::map<std::string, Key, std::less<>>{{"sealed", key}},
                                                      std::set<std::string>{"iban"});
    auto runner = insula::Runner::with_schema(argc > 1 ? argv[1] : "", "sealed", {.middleware = {sealing}});
    runner.add(insula::Workflow::builder("pay")
                   .task("check",
                         [](insula::TaskContext& ctx) { ctx.set("country", ctx.at<std::string>("iban").substr(0, 2)); })
                   .build());
    const insula::Result result = runner.execute("pay", {{"iban", "DE89370400440532013000"}});
    std::cout << result.status << ", from " << result.final_context.at<std::string>("country");

    // The server's own copy, as a runner without the middleware sees it.
    auto plain = insula::Runner::with_schema(argc > 1 ? argv[1] : "", "sealed");
    const auto stored = plain.execution(result.execution_id).result().final_context.at<std::string>("iban");
    std::cout << ", stored as " << stored.substr(0, mark.size()) << "...\n";
    return result.status.is_success() && stored.starts_with(mark) ? 0 : 1;
  } catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 1;
  }
}
