"""Chinese, Japanese and Korean captions: classifiers, particles and sentence patterns."""

from __future__ import annotations

import random

from laion_hpc.demo.scenes import Scene, Thing

# -- Chinese ---------------------------------------------------------------------------------

_ZH_NOUNS = {  # classifier, noun
    "star": ("颗", "星星"),
    "heart": ("颗", "爱心"),
    "tree": ("棵", "圣诞树"),
    "house": ("座", "房子"),
    "boat": ("艘", "帆船"),
    "fish": ("条", "鱼"),
    "car": ("辆", "汽车"),
    "cup": ("个", "咖啡杯"),
    "flower": ("朵", "花"),
    "moon": ("个", "月牙"),
    "umbrella": ("把", "雨伞"),
    "balloon": ("个", "热气球"),
    "mushroom": ("个", "蘑菇"),
    "rocket": ("枚", "火箭"),
    "butterfly": ("只", "蝴蝶"),
    "crown": ("顶", "皇冠"),
}
_ZH_COLOURS = {
    "red": "红色",
    "orange": "橙色",
    "yellow": "黄色",
    "green": "绿色",
    "blue": "蓝色",
    "purple": "紫色",
    "pink": "粉色",
    "white": "白色",
    "black": "黑色",
}
_ZH_PLACES = {
    "brick": "砖墙",
    "wood": "木板墙",
    "sea": "大海的波浪",
    "night": "夜晚的星空",
    "sunset": "美丽的日落",
    "sky": "有白云的蓝天",
    "meadow": "绿色的草地",
    "desert": "沙漠中的沙丘",
    "snow": "冬天的雪景",
    "checker": "黑白相间的棋盘格",
}


def chinese(scene: Scene, rng: random.Random) -> str:
    """A Chinese caption, in one of its patterns."""

    def some(thing: Thing, number: str) -> str:
        classifier, noun = _ZH_NOUNS[thing.shape]
        return f"{number}{classifier}{_ZH_COLOURS[thing.colour]}的{noun}"

    first = scene.things[0]
    what = some(first, "三" if scene.layout == "three" else "一")
    place = _ZH_PLACES[scene.background]
    if scene.layout in ("left", "above"):
        side = "左边" if scene.layout == "left" else "上方"
        other = some(scene.things[1], "一")
        return rng.choice(
            (
                f"{what}在{other}的{side}，背景是{place}",
                f"这张图片里，{other}的{side}有{what}，背景是{place}。",
                f"以{place}为背景的插画：{other}的{side}是{what}",
                f"彩色的儿童画，{other}的{side}画着{what}，背景是{place}",
            )
        )
    return rng.choice(
        (
            f"{what}，后面的背景是{place}，彩色插画",
            f"这张图片里有{what}，背景是{place}。",
            f"以{place}为背景的插画，画的是{what}",
            f"彩色的儿童画，上面画着{what}，背景是{place}",
        )
    )


# -- Japanese --------------------------------------------------------------------------------

_JA_NOUNS = {  # noun, "three" with its counter
    "star": ("星", "三つの"),
    "heart": ("ハート", "三つの"),
    "tree": ("もみの木", "三本の"),
    "house": ("家", "三軒の"),
    "boat": ("ヨット", "三艘の"),
    "fish": ("魚", "三匹の"),
    "car": ("車", "三台の"),
    "cup": ("コーヒーカップ", "三つの"),
    "flower": ("花", "三輪の"),
    "moon": ("三日月", "三つの"),
    "umbrella": ("傘", "三本の"),
    "balloon": ("熱気球", "三つの"),
    "mushroom": ("きのこ", "三本の"),
    "rocket": ("ロケット", "三機の"),
    "butterfly": ("蝶", "三匹の"),
    "crown": ("王冠", "三つの"),
}
_JA_COLOURS = {
    "red": "赤い",
    "orange": "オレンジ色の",
    "yellow": "黄色い",
    "green": "緑色の",
    "blue": "青い",
    "purple": "紫色の",
    "pink": "ピンク色の",
    "white": "白い",
    "black": "黒い",
}
_JA_PLACES = {
    "brick": "レンガの壁",
    "wood": "木の板の壁",
    "sea": "海の波",
    "night": "夜の星空",
    "sunset": "美しい夕焼け",
    "sky": "雲の浮かぶ青空",
    "meadow": "緑の草原",
    "desert": "砂漠の砂丘",
    "snow": "冬の雪景色",
    "checker": "白黒の市松模様",
}


def japanese(scene: Scene, rng: random.Random) -> str:
    """A Japanese caption, in one of its patterns."""

    def one(thing: Thing) -> str:
        return f"{_JA_COLOURS[thing.colour]}{_JA_NOUNS[thing.shape][0]}"

    first = scene.things[0]
    place = _JA_PLACES[scene.background]
    if scene.layout == "left":
        what = f"{one(scene.things[1])}の左側に描かれた{one(first)}"
    elif scene.layout == "above":
        what = f"{one(scene.things[1])}の上に描かれた{one(first)}"
    elif scene.layout == "three":
        what = f"{_JA_NOUNS[first.shape][1]}{one(first)}"
    else:
        what = one(first)
    return rng.choice(
        (
            f"{place}を背景にした{what}のイラスト",
            f"{what}の絵、背景は{place}です",
            f"このイラストは{place}を背景にした{what}です。",
            f"{place}の前の{what}を描いた子ども向けのイラスト"
            if scene.layout in ("alone", "three")
            else f"子ども向けのイラスト：{what}、背景は{place}",
        )
    )


# -- Korean ----------------------------------------------------------------------------------

_KO_NOUNS = {  # noun, "three" with its counter
    "star": ("별", "세 개"),
    "heart": ("하트", "세 개"),
    "tree": ("전나무", "세 그루"),
    "house": ("집", "세 채"),
    "boat": ("돛단배", "세 척"),
    "fish": ("물고기", "세 마리"),
    "car": ("자동차", "세 대"),
    "cup": ("커피잔", "세 개"),
    "flower": ("꽃", "세 송이"),
    "moon": ("초승달", "세 개"),
    "umbrella": ("우산", "세 개"),
    "balloon": ("열기구", "세 개"),
    "mushroom": ("버섯", "세 개"),
    "rocket": ("로켓", "세 대"),
    "butterfly": ("나비", "세 마리"),
    "crown": ("왕관", "세 개"),
}
_KO_COLOURS = {
    "red": "빨간색",
    "orange": "주황색",
    "yellow": "노란색",
    "green": "초록색",
    "blue": "파란색",
    "purple": "보라색",
    "pink": "분홍색",
    "white": "흰색",
    "black": "검은색",
}
_KO_PLACES = {
    "brick": "벽돌 벽",
    "wood": "나무 판자 벽",
    "sea": "바다의 파도",
    "night": "별이 빛나는 밤하늘",
    "sunset": "아름다운 노을",
    "sky": "구름이 떠 있는 푸른 하늘",
    "meadow": "초록빛 풀밭",
    "desert": "사막의 모래 언덕",
    "snow": "겨울의 눈 덮인 풍경",
    "checker": "흑백 체크무늬",
}


def _after(word: str, closed: str, open_: str) -> str:
    """The word with the particle that fits its last syllable, closed by a consonant or open."""
    return word + (closed if (ord(word[-1]) - 0xAC00) % 28 else open_)


def korean(scene: Scene, rng: random.Random) -> str:
    """A Korean caption, in one of its patterns."""

    def one(thing: Thing) -> str:
        return f"{_KO_COLOURS[thing.colour]} {_KO_NOUNS[thing.shape][0]}"

    first = scene.things[0]
    place = _KO_PLACES[scene.background]
    if scene.layout == "left":
        what = f"{one(scene.things[1])} 왼쪽에 있는 {one(first)}"
    elif scene.layout == "above":
        what = f"{one(scene.things[1])} 위에 있는 {one(first)}"
    elif scene.layout == "three":
        what = f"{one(first)} {_KO_NOUNS[first.shape][1]}"
    else:
        what = one(first)
    backed = _after(place, "을", "를") + " 배경으로"
    return rng.choice(
        (
            f"{backed} 한 {what} 그림",
            f"{backed} {_after(what, '이', '가')} 그려진 그림",
            f"{backed} {_after(what, '을', '를')} 그린 어린이용 그림입니다",
            f"이 그림에는 {backed} {_after(what, '이', '가')} 있습니다.",
        )
    )
