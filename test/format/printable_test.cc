// SPDX-License-Identifier: Apache-2.0
#include "flatcow/printable.h"

#include <gtest/gtest.h>

namespace flatcow {
namespace {

TEST(PrintableTest, TextStaysAsItIs) {
  for (const char* text : {"", "vm.qed: no such file", "a\\x0a", "Größe",
                           "\u00a0\u07ff\u0800\ud7ff\ue000\uffff",
                           "\U00010000\U0001f4be\U0010ffff"}) {
    EXPECT_EQ(Printable(text), text);
  }
}

TEST(PrintableTest, ControlCharactersAreWrittenOut) {
  EXPECT_EQ(Printable("a\nb\r\t\x7f"), "a\\x0ab\\x0d\\x09\\x7f");
  EXPECT_EQ(Printable("\x1b[2J"), "\\x1b[2J");
  EXPECT_EQ(Printable(absl::string_view("a\0b", 3)), "a\\x00b");
  // CSI and NEL as one character each.
  EXPECT_EQ(Printable("\u009b2J\u0085"), "\\xc2\\x9b2J\\xc2\\x85");
}

TEST(PrintableTest, SoAreLinesAndDirections) {
  EXPECT_EQ(Printable("\u2028"), "\\xe2\\x80\\xa8");
  EXPECT_EQ(Printable("a\u202egpj"), "a\\xe2\\x80\\xaegpj");
  EXPECT_EQ(Printable("\u2066"), "\\xe2\\x81\\xa6");
}

TEST(PrintableTest, SoAreBytesThatAreNotUtf8) {
  EXPECT_EQ(Printable("a\xff\x80z"), "a\\xff\\x80z");
  EXPECT_EQ(Printable("\x9b[2J"), "\\x9b[2J");
  // Cut short, too long, a surrogate, above the last character.
  EXPECT_EQ(Printable("\xe2\x82"), "\\xe2\\x82");
  EXPECT_EQ(Printable("\xc3(\xe2(\xa1"), "\\xc3(\\xe2(\\xa1");
  EXPECT_EQ(Printable("\xc1\x8a"), "\\xc1\\x8a");
  EXPECT_EQ(Printable("\xe0\x80\x8a"), "\\xe0\\x80\\x8a");
  EXPECT_EQ(Printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");
  EXPECT_EQ(Printable("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");
}

}  // namespace
}  // namespace flatcow
