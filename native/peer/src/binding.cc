// Converts between JavaScript and peer.h and does nothing else. The order is that of binding.ts.
#include <napi.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <functional>
#include <string>

#include "peer.h"

namespace {

Napi::Error to_js(Napi::Env env, const xos::peer::SystemError& error) {
  auto made = Napi::Error::New(env, error.what());
  const int number = error.code().value();
  const char* name = strerrorname_np(number);
  made.Set("code", Napi::String::New(env, name == nullptr ? "UNKNOWN" : name));
  made.Set("errno", Napi::Number::New(env, -number));  // negative, as Node's own errors have it
  made.Set("syscall", Napi::String::New(env, error.syscall));
  return made;
}

int32_t integer(const Napi::CallbackInfo& info, size_t index, const char* name) {
  const double value = index < info.Length() && info[index].IsNumber() ? info[index].As<Napi::Number>().DoubleValue() : NAN;
  if (!(value >= 0 && value <= INT32_MAX && value == std::floor(value))) throw Napi::TypeError::New(info.Env(), std::string(name) + " must be an integer from 0 to 2^31-1");
  return static_cast<int32_t>(value);
}

std::string text(const Napi::CallbackInfo& info, size_t index, const char* name) {
  if (index >= info.Length() || !info[index].IsString()) throw Napi::TypeError::New(info.Env(), std::string(name) + " must be a string");
  auto value = info[index].As<Napi::String>().Utf8Value();
  if (value.find('\0') != std::string::npos) throw Napi::TypeError::New(info.Env(), std::string(name) + " must not hold a NUL byte");
  return value;
}

/// Runs `work` on a thread of the pool and settles a promise; owned by N-API until it has.
class Task final : public Napi::AsyncWorker {
 public:
  using Work = std::function<void()>;
  using Result = std::function<Napi::Value(Napi::Env)>;

  static Napi::Value start(Napi::Env env, Work work, Result result) {
    auto* task = new Task(env, std::move(work), std::move(result));
    auto promise = task->deferred_.Promise();
    task->Queue();
    return promise;
  }

 private:
  Task(Napi::Env env, Work work, Result result)
      : Napi::AsyncWorker(env, "xos.peer"), deferred_(Napi::Promise::Deferred::New(env)), work_(std::move(work)), result_(std::move(result)) {}

  void Execute() override {
    try {
      work_();
    } catch (const xos::peer::SystemError& error) {
      failed_.emplace(error);
      SetError(error.what());
    }
  }
  void OnOK() override {
    Napi::HandleScope scope(Env());
    deferred_.Resolve(result_(Env()));
  }
  void OnError(const Napi::Error& error) override {
    Napi::HandleScope scope(Env());
    deferred_.Reject(failed_ ? to_js(Env(), *failed_).Value() : error.Value());
  }

  Napi::Promise::Deferred deferred_;
  Work work_;
  Result result_;
  std::optional<xos::peer::SystemError> failed_;
};

Napi::Value undefined(Napi::Env env) { return env.Undefined(); }

Napi::Value peer_credentials(const Napi::CallbackInfo& info) {
  const int fd = integer(info, 0, "fd");
  try {
    const auto found = xos::peer::peer_credentials(fd);
    auto result = Napi::Object::New(info.Env());
    result.Set("pid", static_cast<double>(found.pid));
    result.Set("uid", static_cast<double>(found.uid));
    result.Set("gid", static_cast<double>(found.gid));
    return result;
  } catch (const xos::peer::SystemError& error) {
    throw to_js(info.Env(), error);
  }
}

Napi::Value mount(const Napi::CallbackInfo& info) {
  auto source = text(info, 0, "source"), target = text(info, 1, "target");
  const int flags = integer(info, 2, "flags");
  return Task::start(info.Env(), [=] { xos::peer::mount(source, target, static_cast<unsigned long>(flags)); }, undefined);
}

Napi::Value unmount(const Napi::CallbackInfo& info) {
  auto target = text(info, 0, "target");
  const int flags = integer(info, 1, "flags");
  return Task::start(info.Env(), [=] { xos::peer::unmount(target, flags); }, undefined);
}

Napi::Value stat_file_system(const Napi::CallbackInfo& info) {
  auto path = text(info, 0, "path");
  auto found = std::make_shared<xos::peer::FileSystem>();
  return Task::start(
      info.Env(), [=] { *found = xos::peer::stat_file_system(path); },
      [=](Napi::Env env) -> Napi::Value {
        auto result = Napi::Object::New(env);
        result.Set("type", static_cast<double>(found->type));
        result.Set("block_bytes", static_cast<double>(found->block_bytes));
        result.Set("blocks", static_cast<double>(found->blocks));
        result.Set("blocks_available", static_cast<double>(found->blocks_available));
        return result;
      });
}

Napi::Value read_session_key(const Napi::CallbackInfo& info) {
  const auto description = text(info, 0, "description");
  try {
    const auto payload = xos::peer::read_session_key(description);
    if (!payload) return info.Env().Null();
    return Napi::Buffer<uint8_t>::Copy(info.Env(), payload->data(), payload->size());
  } catch (const xos::peer::SystemError& error) {
    throw to_js(info.Env(), error);
  }
}

Napi::Value update_key(const Napi::CallbackInfo& info) {
  const int key = integer(info, 0, "key");
  if (info.Length() < 2 || !info[1].IsTypedArray() || info[1].As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) throw Napi::TypeError::New(info.Env(), "payload must be a Uint8Array");
  const auto payload = info[1].As<Napi::Uint8Array>();
  try {
    xos::peer::update_key(key, payload.Data(), payload.ByteLength());
  } catch (const xos::peer::SystemError& error) {
    throw to_js(info.Env(), error);
  }
  return info.Env().Undefined();
}

/// An array whose elements `read` takes.
template <typename Read>
void each_element(const Napi::CallbackInfo& info, size_t index, const char* what, Read read) {
  if (index >= info.Length() || !info[index].IsArray()) throw Napi::TypeError::New(info.Env(), what);
  const auto list = info[index].As<Napi::Array>();
  for (uint32_t at = 0; at < list.Length(); at++)
    if (!read(static_cast<Napi::Value>(list[at]))) throw Napi::TypeError::New(info.Env(), what);
}

Napi::Value revoke_credentials(const Napi::CallbackInfo& info) {
  std::vector<uint32_t> uids;
  std::vector<std::vector<uint8_t>> serials;
  each_element(info, 0, "uids must be an array of integers from 0 to 2^32-1", [&](const Napi::Value& each) {
    const double value = each.IsNumber() ? each.As<Napi::Number>().DoubleValue() : NAN;
    if (!(value >= 0 && value <= UINT32_MAX && value == std::floor(value))) return false;
    uids.push_back(static_cast<uint32_t>(value));
    return true;
  });
  each_element(info, 1, "serials must be an array of Uint8Arrays", [&](const Napi::Value& each) {
    if (!each.IsTypedArray() || each.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) return false;
    const auto bytes = each.As<Napi::Uint8Array>();
    serials.emplace_back(bytes.Data(), bytes.Data() + bytes.ByteLength());
    return true;
  });
  try {
    const auto revoked = xos::peer::revoke_credentials(uids, serials);
    if (!revoked) return info.Env().Null();
    return Napi::Number::New(info.Env(), static_cast<double>(*revoked));
  } catch (const xos::peer::SystemError& error) {
    throw to_js(info.Env(), error);
  }
}

Napi::Value hash_password(const Napi::CallbackInfo& info) {
  auto phrase = text(info, 0, "phrase"), setting = text(info, 1, "setting");
  auto hash = std::make_shared<std::string>();
  return Task::start(
      info.Env(), [=] { *hash = xos::peer::hash_password(phrase, setting); }, [=](Napi::Env env) -> Napi::Value {
        Task::start(env, xos::peer::wipe_password_memory, undefined);  // behind the answer: nobody waits for it
        return Napi::String::New(env, *hash);
      });
}

Napi::Value password_setting(const Napi::CallbackInfo& info) {
  const auto prefix = text(info, 0, "prefix");
  const int cost = integer(info, 1, "cost");
  if (info.Length() < 3 || !info[2].IsTypedArray() || info[2].As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) throw Napi::TypeError::New(info.Env(), "random must be a Uint8Array");
  const auto random = info[2].As<Napi::Uint8Array>();
  try {
    return Napi::String::New(info.Env(), xos::peer::password_setting(prefix, static_cast<unsigned long>(cost), {random.Data(), random.Data() + random.ByteLength()}));
  } catch (const xos::peer::SystemError& error) {
    throw to_js(info.Env(), error);
  }
}

Napi::Value set_dumpable(const Napi::CallbackInfo& info) {
  if (info.Length() < 1 || !info[0].IsBoolean()) throw Napi::TypeError::New(info.Env(), "dumpable must be a boolean");
  try {
    xos::peer::set_dumpable(info[0].As<Napi::Boolean>().Value());
  } catch (const xos::peer::SystemError& error) {
    throw to_js(info.Env(), error);
  }
  return info.Env().Undefined();
}

Napi::Value tune_allocator(const Napi::CallbackInfo& info) {
  xos::peer::tune_allocator();
  return info.Env().Undefined();
}

Napi::Value trim_memory(const Napi::CallbackInfo& info) {
  xos::peer::trim_memory();
  return info.Env().Undefined();
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports.Set("peerCredentials", Napi::Function::New(env, peer_credentials, "peerCredentials"));
  exports.Set("mount", Napi::Function::New(env, mount, "mount"));
  exports.Set("unmount", Napi::Function::New(env, unmount, "unmount"));
  exports.Set("statFileSystem", Napi::Function::New(env, stat_file_system, "statFileSystem"));
  exports.Set("readSessionKey", Napi::Function::New(env, read_session_key, "readSessionKey"));
  exports.Set("updateKey", Napi::Function::New(env, update_key, "updateKey"));
  exports.Set("revokeCredentials", Napi::Function::New(env, revoke_credentials, "revokeCredentials"));
  exports.Set("hashPassword", Napi::Function::New(env, hash_password, "hashPassword"));
  exports.Set("passwordSetting", Napi::Function::New(env, password_setting, "passwordSetting"));
  exports.Set("setDumpable", Napi::Function::New(env, set_dumpable, "setDumpable"));
  exports.Set("tuneAllocator", Napi::Function::New(env, tune_allocator, "tuneAllocator"));
  exports.Set("trimMemory", Napi::Function::New(env, trim_memory, "trimMemory"));
  return exports;
}

}  // namespace

NODE_API_MODULE(peer, init)
