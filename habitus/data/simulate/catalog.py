"""The simulated app store: about 3,000 apps in 25 categories, the same for every seed.

Names are a prefix and a stem of the category, some of them Chinese or with an emoji, because real app names are.
Popularity is a category's share times a Zipf law inside the category. Sizes are log-normal per app.
The catalogue has its own fixed seed: a model trained on one simulation can be tested on another.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

N_APPS = 3_000
CATALOG_SEED = 20_240_101
ZIPF_EXPONENT = 1.05

# category: (share of the ordinary installs, stems of its apps' names)
CATEGORIES: dict[str, tuple[float, tuple[str, ...]]] = {
    "game": (0.160, ("Quest", "Saga", "Runner", "王者", "消消乐", "Arena 🎮", "Puzzle", "传奇")),
    "social": (0.090, ("Chat", "Friends", "Talk", "聊天", "Circle 💬", "社区")),
    "shopping": (0.080, ("Mall", "Deals", "Market", "购物", "Shop 🛒", "优选")),
    "video": (0.070, ("Video", "Clips", "Stream", "短视频", "TV 📺", "影院")),
    "tools": (0.065, ("Cleaner", "Scanner", "Keyboard", "文件管理", "Flashlight 🔦", "工具箱")),
    "photo": (0.055, ("Camera", "Collage", "Filters", "美颜", "Photo 📷", "相册")),
    "music": (0.050, ("Music", "Radio", "Karaoke", "音乐", "Beats 🎵", "唱歌")),
    "finance": (0.045, ("Bank", "Wallet", "Budget", "理财", "Pay 💳", "记账")),
    "food": (0.045, ("Eats", "Recipes", "Delivery", "外卖", "Kitchen 🍜", "美食")),
    "travel": (0.040, ("Trips", "Flights", "Hotels", "旅行", "Rides ✈️", "打车")),
    "news": (0.040, ("News", "Daily", "Headlines", "新闻", "Herald 📰", "头条")),
    "education": (0.040, ("Academy", "Words", "Lessons", "单词", "School 🎓", "作业")),
    "books": (0.030, ("Reader", "Novels", "Comics", "小说", "Library 📚", "漫画")),
    "health": (0.030, ("Health", "Doctor", "Sleep", "健康", "Clinic 🩺", "医生")),
    "fitness": (0.025, ("Fit", "Steps", "Yoga", "跑步", "Gym 💪", "瑜伽")),
    "productivity": (0.025, ("Notes", "Tasks", "Calendar", "笔记", "Docs 📝", "日程")),
    "sports": (0.020, ("Scores", "Football", "League", "体育", "Goals ⚽", "篮球")),
    "maps": (0.018, ("Maps", "Navigator", "Transit", "地图", "Compass 🧭", "公交")),
    "weather": (0.015, ("Weather", "Radar", "Forecast", "天气", "Sky 🌦️", "预报")),
    "kids": (0.015, ("Kids", "Nursery", "Colors", "儿歌", "Bears 🧸", "启蒙")),
    "dating": (0.014, ("Date", "Match", "Hearts", "交友", "Love ❤️", "相亲")),
    "crypto": (0.012, ("Coin", "Chain", "Token", "币", "Crypto 🪙", "钱包")),
    "business": (0.010, ("CRM", "Invoices", "Meetings", "办公", "Office 💼", "考勤")),
    "lending": (0.003, ("Loan", "Credit", "Cash", "借贷", "Advance 💰", "速借")),
    "gambling": (0.003, ("Slots", "Casino", "Bets", "彩票", "Poker 🎰", "棋牌")),
}
NAMES = tuple(CATEGORIES)
PREFIXES = (
    *("Lucky", "Super", "My", "Quick", "Easy", "Happy", "Royal", "Smart", "Magic", "Tiny", "Blue", "Golden", "Fast"),
    *("Pocket", "Star", "Open", "Daily", "Urban", "Magnet", "Panda", "Tiger", "Nova", "Zen", "Hello", "Mega", "One"),
    *("小", "极速", "天天", "快", "开心", "掌上", "超级", "全民", "云", "乐"),
)
SUFFIXES = ("", " Pro", " 2", " Lite", " Plus")


@dataclass(frozen=True)
class Catalog:
    """The apps: row i is app i; apps of a category stand together, the most popular first.

    Args:
        name: app names, all different.
        category: index into `NAMES`.
        size_mb: median download size.
        first: position of each category's first app, and one past the last.
        popularity: `category + cumulative share inside the category`, ascending, for inverse sampling.
    """

    name: list[str]
    category: np.ndarray
    size_mb: np.ndarray
    first: np.ndarray
    popularity: np.ndarray

    def draw(self, rng: np.random.Generator, category: np.ndarray) -> np.ndarray:
        """Draw one app of each given category by popularity."""
        return np.searchsorted(self.popularity, category + rng.random(len(category)), side="right")


@cache
def build_catalog() -> Catalog:
    """Return the catalogue; the same object on every call.

    >>> catalog = build_catalog()
    >>> len(catalog.name), len(set(catalog.name)), len(NAMES)
    (3000, 3000, 25)
    """
    rng = np.random.default_rng(CATALOG_SEED)
    sizes = _apps_per_category()
    category = np.repeat(np.arange(len(sizes)), sizes)
    name = [name for index, n in enumerate(sizes) for name in _app_names(rng, CATEGORIES[NAMES[index]][1], int(n))]
    popularity = np.concatenate([index + _zipf(int(n)) for index, n in enumerate(sizes)])
    size_mb = np.exp(rng.normal(np.log(40.0), 0.9, len(category)))
    return Catalog(name, category, size_mb, np.concatenate([[0], np.cumsum(sizes)]), popularity)


def _apps_per_category() -> np.ndarray:
    weight = np.array([share for share, _ in CATEGORIES.values()]) ** 0.6
    sizes = np.floor(N_APPS * weight / weight.sum()).astype(np.int64)
    sizes[0] += N_APPS - sizes.sum()
    return sizes


def _app_names(rng: np.random.Generator, stems: tuple[str, ...], n: int) -> list[str]:
    names = [f"{prefix} {stem}{suffix}" for suffix in SUFFIXES for prefix in PREFIXES for stem in stems]
    return [names[i] for i in rng.permutation(len(names))[:n]]


def _zipf(n: int) -> np.ndarray:
    share = 1.0 / np.arange(1, n + 1) ** ZIPF_EXPONENT
    cumulative = np.cumsum(share) / share.sum()
    cumulative[-1] = 1.0
    return cumulative
