// SPDX-License-Identifier: MIT
//
// The common part of the fake servers: a port on the loopback interface, connections served by one
// coroutine each on one strand, delays, and a stop() that closes them all.
//
// Invariant: objects of the io_context are only kept in the frames of its coroutines, so a server
// may be destroyed before or after its io_context ends.
#ifndef SLUICE_TESTING_LOOPBACK_SERVER_HPP
#define SLUICE_TESTING_LOOPBACK_SERVER_HPP

#include <sluice/core/time.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/address_v4.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/system/error_code.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <thread>
#include <utility>

namespace sluice::testing {

using Duration = core::Duration;

/// A delay drawn anew each time, uniformly from [least, most].
struct Delay {
    Duration least{};
    Duration most{};
};

namespace detail {

/// An accepted socket, used only on the strand.
class LoopbackConnection {
public:
    LoopbackConnection() = default;
    LoopbackConnection(const LoopbackConnection&) = delete;
    LoopbackConnection& operator=(const LoopbackConnection&) = delete;
    virtual ~LoopbackConnection() = default;

    /// Closes the socket. Its coroutines end soon after.
    virtual void close() = 0;
};

class LoopbackListener;

/// The state shared by server, listener and connections; destroyed with the last of them.
class LoopbackState {
public:
    LoopbackState(std::uint16_t port, std::uint64_t seed) : port_(port), random_(seed) {}
    LoopbackState(const LoopbackState&) = delete;
    LoopbackState& operator=(const LoopbackState&) = delete;
    virtual ~LoopbackState() = default;

    /// Returns the time since the server was made, on the steady clock.
    [[nodiscard]] Duration now() const {
        return std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now() - start_);
    }
    /// Returns a random delay. On the strand.
    [[nodiscard]] Duration draw(const Delay& delay) {
        if (delay.most <= delay.least) return delay.least;
        std::uniform_int_distribution<Duration::rep> spread{delay.least.count(),
                                                            delay.most.count()};
        return Duration{spread(random_)};
    }
    [[nodiscard]] std::uint16_t port() const noexcept { return port_; }

    /// Registers a connection. On the strand. A connection that was accepted, but not started
    /// before the server was stopped, is closed at once.
    void enter(LoopbackConnection& connection) {
        connections_.insert(&connection);
        if (stopped_) connection.close();
    }
    void leave(LoopbackConnection& connection) { connections_.erase(&connection); }
    [[nodiscard]] const std::set<LoopbackConnection*>& connections() const noexcept {
        return connections_;
    }

    /// From any thread: runs `action` on the strand, if the strand still exists.
    template <class Action>
    void post(Action action);
    /// Closes all connections. On the strand.
    void close_all();

private:
    friend LoopbackListener;

    const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
    std::mutex listener_mutex_;
    LoopbackListener* listener_ = nullptr; ///< under listener_mutex_; null when it no longer exists
    std::uint16_t port_;
    std::mt19937_64 random_;
    std::set<LoopbackConnection*> connections_;
    bool stopped_ = false;
};

/// The acceptor. It lives in the frame of the accepting coroutine, and so is destroyed with the
/// io_context.
class LoopbackListener {
public:
    using Tcp = boost::asio::ip::tcp;

    LoopbackListener(std::shared_ptr<LoopbackState> state, boost::asio::any_io_executor executor)
        : state_(std::move(state)),
          acceptor_(boost::asio::make_strand(std::move(executor)),
                    {boost::asio::ip::address_v4::loopback(), state_->port_}) {
        state_->port_ = acceptor_.local_endpoint().port();
        const std::lock_guard lock{state_->listener_mutex_};
        state_->listener_ = this;
    }
    ~LoopbackListener() {
        const std::lock_guard lock{state_->listener_mutex_};
        state_->listener_ = nullptr;
    }
    LoopbackListener(const LoopbackListener&) = delete;
    LoopbackListener& operator=(const LoopbackListener&) = delete;

    [[nodiscard]] Tcp::acceptor& acceptor() noexcept { return acceptor_; }

private:
    std::shared_ptr<LoopbackState> state_;
    Tcp::acceptor acceptor_;
};

template <class Action>
void LoopbackState::post(Action action) {
    // As long as the listener exists, so does the io_context: its end waits for this lock.
    const std::lock_guard lock{listener_mutex_};
    if (listener_ == nullptr) return;
    boost::asio::post(listener_->acceptor().get_executor(), std::move(action));
}

inline void LoopbackState::close_all() {
    stopped_ = true;
    for (auto* connection : connections_)
        connection->close();
    const std::lock_guard lock{listener_mutex_};
    if (listener_ != nullptr) listener_->acceptor().close();
}

/// `serve(socket)` returns the coroutine of one connection.
template <class Serve>
boost::asio::awaitable<void> accept_connections(std::unique_ptr<LoopbackListener> listener,
                                                Serve serve) {
    auto& acceptor = listener->acceptor();
    boost::asio::steady_timer timer{acceptor.get_executor()};
    while (acceptor.is_open()) {
        boost::system::error_code ec;
        auto socket = co_await acceptor.async_accept(
            boost::asio::redirect_error(boost::asio::use_awaitable, ec));
        if (!ec) {
            // Without it an answer may wait 40 ms for the acknowledgement of the previous one.
            socket.set_option(boost::asio::ip::tcp::no_delay{true}, ec);
            boost::asio::co_spawn(acceptor.get_executor(), serve(std::move(socket)),
                                  boost::asio::detached);
        } else if (acceptor.is_open()) {
            // For example out of file descriptors: the pause lets other coroutines release some.
            timer.expires_after(std::chrono::milliseconds{1});
            co_await timer.async_wait(boost::asio::redirect_error(boost::asio::use_awaitable, ec));
        }
    }
}

/// Listens when this returns. Throws boost::system::system_error if the port is in use.
template <class Serve>
void listen(const std::shared_ptr<LoopbackState>& state, boost::asio::any_io_executor executor,
            Serve serve) {
    auto listener = std::make_unique<LoopbackListener>(state, std::move(executor));
    auto& acceptor = listener->acceptor();
    boost::asio::co_spawn(acceptor.get_executor(),
                          accept_connections(std::move(listener), std::move(serve)),
                          boost::asio::detached);
}

} // namespace detail

/// A server with its own io_context and the thread that runs it.
template <class Server, class Fake, class Options>
class ServerThread {
public:
    explicit ServerThread(Fake fake = Fake{}, const Options& options = {})
        : server_(io_.get_executor(), std::move(fake), options), thread_([this] { io_.run(); }) {}

    ~ServerThread() {
        server_.stop();
        thread_.join();
    }

    ServerThread(const ServerThread&) = delete;
    ServerThread& operator=(const ServerThread&) = delete;

    [[nodiscard]] Server& operator*() noexcept { return server_; }
    [[nodiscard]] Server* operator->() noexcept { return &server_; }

private:
    boost::asio::io_context io_{1};
    Server server_;
    std::thread thread_;
};

} // namespace sluice::testing

#endif
