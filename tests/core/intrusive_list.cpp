// SPDX-License-Identifier: MIT
#include <sluice/core/intrusive_list.hpp>

#include "support/catch.hpp"

#include <algorithm>
#include <iterator>
#include <list>
#include <memory>
#include <random>
#include <utility>
#include <vector>

namespace {

using sluice::core::IntrusiveList;
using sluice::core::LeavingListHook;
using sluice::core::ListHook;

struct Plain : ListHook {
    explicit Plain(int value) : number(value) {}
    int number;
};

struct FirstHook : LeavingListHook {};
struct SecondHook : LeavingListHook {};
struct Twice : FirstHook, SecondHook {};

using List = IntrusiveList<Plain>;

std::vector<int> numbers(const List& list) {
    std::vector<int> result;
    for (const Plain& item : list)
        result.push_back(item.number);
    return result;
}

std::vector<int> backwards(List& list) {
    std::vector<int> result;
    for (auto at = list.end(); at != list.begin();)
        result.push_back((--at)->number);
    return result;
}

} // namespace

TEST_CASE("a list of items with links of their own") {
    Plain one(1);
    Plain two(2);
    Plain three(3);
    List list;

    SECTION("is empty at first") {
        CHECK(list.empty());
        CHECK_FALSE(list.has_several());
        CHECK(list.begin() == list.end());
    }

    list.push_back(one);
    SECTION("tells whether it holds several items") {
        CHECK_FALSE(list.empty());
        CHECK_FALSE(list.has_several());
        list.push_back(two);
        CHECK(list.has_several());
    }

    list.push_back(two);
    list.push_back(three);
    SECTION("keeps the order, both ways") {
        CHECK(numbers(list) == std::vector{1, 2, 3});
        CHECK(backwards(list) == std::vector{3, 2, 1});
        CHECK(list.front().number == 1);
        CHECK(list.back().number == 3);
        CHECK(std::find_if(list.begin(), list.end(), [](const Plain& item) {
                  return item.number == 2;
              }) == std::next(list.begin()));
    }
    SECTION("lets any item leave, the one being looked at too") {
        for (auto at = list.begin(); at != list.end();) {
            Plain& item = *at++;
            if (item.number == 2) List::erase(item);
        }
        CHECK(numbers(list) == std::vector{1, 3});
        CHECK_FALSE(two.is_linked());
        two.unlink(); // is in none: nothing happens
        list.pop_front();
        CHECK(numbers(list) == std::vector{3});
        list.insert(list.begin(), two);
        list.insert(list.end(), one);
        CHECK(numbers(list) == std::vector{2, 3, 1});
    }
    SECTION("moves") {
        List other(std::move(list));
        CHECK(list.empty());
        CHECK(numbers(other) == std::vector{1, 2, 3});
        CHECK(backwards(other) == std::vector{3, 2, 1});
        List nothing(std::move(list));
        CHECK(nothing.empty());
    }
    SECTION("splices all of another, none, and what is before an item") {
        Plain four(4);
        Plain five(5);
        List other;
        list.splice(other);
        CHECK(numbers(list) == std::vector{1, 2, 3});
        other.push_back(four);
        other.push_back(five);
        list.splice(other, other.begin());
        CHECK(numbers(other) == std::vector{4, 5});
        list.splice(other, std::next(other.begin()));
        CHECK(numbers(list) == std::vector{1, 2, 3, 4});
        CHECK(backwards(list) == std::vector{4, 3, 2, 1});
        CHECK(numbers(other) == std::vector{5});
        other.splice(list);
        CHECK(list.empty());
        CHECK(numbers(other) == std::vector{5, 1, 2, 3, 4});
    }
    SECTION("clears without harm to its items") {
        list.clear();
        CHECK(list.empty());
        CHECK_FALSE((one.is_linked() || two.is_linked() || three.is_linked()));
        list.push_back(two);
        CHECK(numbers(list) == std::vector{2});
    }
}

TEST_CASE("an item of several hooks is in several lists at once and leaves all when it goes") {
    IntrusiveList<Twice, FirstHook> first;
    auto second = std::make_unique<IntrusiveList<Twice, SecondHook>>();
    Twice stays;
    {
        Twice goes;
        first.push_back(goes);
        second->push_back(goes);
        first.push_back(stays);
        second->push_back(stays);
        CHECK(&first.front() == &goes);
        CHECK(&second->front() == &goes);
    }
    CHECK_FALSE(first.has_several());
    CHECK(&first.front() == &stays);
    CHECK(&second->back() == &stays);

    second.reset(); // the other way round: the list goes first
    CHECK_FALSE(stays.SecondHook::is_linked());
    CHECK(stays.FirstHook::is_linked());
}

TEST_CASE("an intrusive list agrees with std::list through random changes") {
    std::mt19937 random(20'261'129);
    std::vector<std::unique_ptr<Plain>> items;
    for (int number = 0; number < 40; ++number)
        items.push_back(std::make_unique<Plain>(number));
    List lists[2];
    std::list<int> models[2];
    for (int step = 0; step < 20'000; ++step) {
        const auto which = static_cast<std::size_t>(random() % 2);
        List& list = lists[which];
        std::list<int>& model = models[which];
        const auto at = static_cast<std::ptrdiff_t>(random() % (model.size() + 1));
        Plain& item = *items[random() % items.size()];
        switch (random() % 8) {
        case 0:
            list.splice(lists[1 - which]);
            model.splice(model.end(), models[1 - which]);
            break;
        case 1:
            lists[1 - which].splice(list, std::next(list.begin(), at));
            models[1 - which].splice(models[1 - which].end(), model, model.begin(),
                                     std::next(model.begin(), at));
            break;
        default:
            if (item.is_linked()) {
                List::erase(item);
                models[0].remove(item.number);
                models[1].remove(item.number);
            } else {
                list.insert(std::next(list.begin(), at), item);
                model.insert(std::next(model.begin(), at), item.number);
            }
        }
        for (std::size_t each = 0; each < 2; ++each) {
            REQUIRE(std::equal(lists[each].begin(), lists[each].end(), models[each].begin(),
                               models[each].end(),
                               [](const Plain& own, int number) { return own.number == number; }));
        }
    }
}
